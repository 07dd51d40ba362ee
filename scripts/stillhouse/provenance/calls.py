"""Finds calls in a ledger by digest, for the tools that tell where a row came from."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.provenance.ledger_index import LedgerIndex
from stillhouse.provenance.ledger_lines import decode_line


@dataclass(frozen=True)
class Found:
    """A call as the ledger holds it, and the file of the job that made it."""

    digest: str
    call: dict[str, Any]
    file: Path


class CallIndex:
    """The calls of the ledger in `folder`; `root` holds results/ and receives the index of the ledger."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._index = LedgerIndex(folder, root, tell=lambda text: print(text, file=sys.stderr, flush=True))

    def matching(self, prefix: str, limit: int = 10) -> list[str]:
        """Digests that begin with the hex digits `prefix`, sorted, `limit` at most."""
        return self._index.matching(prefix, limit)

    def get(self, digest: str) -> Found | None:
        """The call with this digest, the earliest where several lines answer it; None where the ledger has none.

        Raises `LedgerError` when its only line was changed.
        """
        found = self._index.fetch(digest, decode_line)
        if found is None and (damage := self._index.damage(digest)):
            raise LedgerError(f"call {digest}: {damage}")
        return Found(digest, found[0], self.folder / found[1]) if found else None
