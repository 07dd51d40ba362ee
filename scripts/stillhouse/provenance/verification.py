"""What a verification finds, and how it reads files."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_file


@dataclass(frozen=True)
class Fault:
    """A file that is not what the records say, and the job concerned."""

    path: str
    job: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something to know about a file that is no fault. `kind`: absent, unknown, outdated, torn, twice, unsealed or damaged."""

    kind: str
    path: str
    text: str


@dataclass
class Verification:
    """What was looked at and found."""

    files: int = 0
    records: int = 0
    calls: int = 0
    lines: int = 0
    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


class Hashes:
    """Digests of files below `root`, each content on the disk read once: store entries are links to artefacts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[tuple[int, int, int, int], str] = {}

    def of(self, path: str | Path) -> str:
        """Sha256 of a file; raises `OSError`."""
        file = self.root / path
        status = os.stat(file)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if identity not in self._known:
            self._known[identity] = digest_file(file)
        return self._known[identity]

    def fault(self, path: str | Path, sha256: str, size: int | None = None) -> str | None:
        """What is wrong with a file that should have this digest; None when nothing is, `missing` when it is gone."""
        try:
            found = os.path.getsize(self.root / path)
            if size is not None and found != size:
                return f"changed: it has {found} bytes, the record says {size}"
            if self.of(path) != sha256:
                return f"changed: sha256 is not {sha256} any more"
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return None


def plain_json(value: Any) -> bytes:
    """A document as the workflow's own writer puts it down."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "surrogatepass")
