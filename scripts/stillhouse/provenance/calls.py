"""Finds calls in a ledger by digest, through an index beside results/ that is built once and never trusted.

The index (SQLite) says where a call's line lies. Every line is checked when it is read; a file of the ledger whose
size or time changed is indexed again.
"""

import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.provenance.digests import digest_text
from stillhouse.provenance.ledger_lines import OPENING, decode_line, scan_file
from stillhouse.provenance.progress import track

logger = logging.getLogger(__name__)

FOLDER = Path(".stillhouse/index")
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER, mtime INTEGER);
CREATE TABLE IF NOT EXISTS calls (digest BLOB, file INTEGER, offset INTEGER);
"""
LAYOUT = 1
"""Version of the tables; an index of another version is built anew."""
BUSY_S = 600
"""How long to wait for another process that builds the same index."""
TELL_FROM = 2**25
"""Bytes to index from which the user is told, as it takes a second or more."""


@dataclass(frozen=True)
class Found:
    """A call as the ledger holds it, and the file of the job that made it."""

    digest: str
    call: dict[str, Any]
    file: Path


class CallIndex:
    """The calls of the ledger in `folder`.

    `root` holds results/ and receives the index; where it cannot be written the index is built in memory.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._base = _open(root / FOLDER / f"calls-{digest_text(_name(folder, root))[:12]}.sqlite")
        self._again: set[str] = set()
        self._refresh()

    def matching(self, prefix: str, limit: int = 10) -> list[str]:
        """Digests that begin with the hex digits `prefix`, sorted, `limit` at most."""
        if not prefix or not set(prefix.lower()) <= set("0123456789abcdef") or len(prefix) > 64:
            return []
        low, high = (bytes.fromhex(prefix.lower().ljust(64, digit)) for digit in "0f")
        query = "SELECT DISTINCT digest FROM calls WHERE digest BETWEEN ? AND ? ORDER BY digest LIMIT ?"
        return [row[0].hex() for row in self._base.execute(query, (low, high, limit))]

    def get(self, digest: str) -> Found | None:
        """The call with this digest, the earliest where several lines answer it; None where the ledger has none.

        Raises `LedgerError` when its only line was changed after it was written.
        """
        found, faults = self._read_all(digest)
        if faults and self._refresh({file.name for file in faults}):
            found, faults = self._read_all(digest)
        if faults and not found:
            raise LedgerError(f"call {digest}: {next(iter(faults.values()))}")
        return min(found, key=lambda one: str(one.call.get("at")), default=None)

    def _read_all(self, digest: str) -> tuple[list[Found], dict[Path, str]]:
        """The lines that answer `digest`, and the files whose lines cannot be trusted, with the reason."""
        found, faults = [], {}
        for file, offset in self._places(digest):
            try:
                with open(file, "rb") as stream:
                    stream.seek(offset)
                    told, call = decode_line(stream.readline())
                if told != digest:
                    raise ValueError("another call stands there now")
                found.append(Found(digest, call, file))
            except (OSError, ValueError) as error:
                faults[file] = f"{file} at byte {offset}: {error}"
        return found, faults

    def _places(self, digest: str) -> list[tuple[Path, int]]:
        try:
            wanted = bytes.fromhex(digest)
        except ValueError:
            return []
        query = "SELECT name, offset FROM calls JOIN files ON files.id = calls.file WHERE digest = ?"
        return [(self.folder / name, offset) for name, offset in self._base.execute(query, (wanted,))]

    def _refresh(self, doubted: set[str] = frozenset()) -> bool:
        """Index what is new or changed, and `doubted` files once more; False when there was nothing to do."""
        doubted = doubted - self._again
        self._again |= doubted
        there = {file.name: file.stat() for file in sorted(self.folder.glob("*.jsonl"))}
        if not self._stale(there, doubted):
            return False
        self._base.execute("BEGIN IMMEDIATE")  # another trace.py may be building the same index: look again
        try:
            stale = self._stale(there, doubted)
            if stale:
                self._rebuild(there, stale)
            self._base.execute("COMMIT")
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        return True

    def _stale(self, there: dict[str, os.stat_result], doubted: set[str]) -> set[str]:
        """Names of files whose part of the index is missing or must go."""
        known = {name: (size, mtime) for name, size, mtime in self._base.execute("SELECT name, size, mtime FROM files")}
        changed = {n for n, status in there.items() if known.get(n) != (status.st_size, status.st_mtime_ns)}
        return changed | (doubted & there.keys()) | (known.keys() - there.keys())

    def _rebuild(self, there: dict[str, os.stat_result], stale: set[str]) -> None:
        new = sorted(stale & there.keys())
        size = sum(there[name].st_size for name in new)
        if size > TELL_FROM:
            print(f"indexing {size / 2**20:.0f} MiB of calls, once", file=sys.stderr, flush=True)
        self._base.executemany("DELETE FROM files WHERE name = ?", [(name,) for name in stale])
        self._base.execute("DELETE FROM calls WHERE file NOT IN (SELECT id FROM files)")
        if 2 * size > sum(status.st_size for status in there.values()):
            self._base.execute("DROP INDEX IF EXISTS by_digest")  # sorting once is quicker than row by row
        for name in track(new, "indexing calls") if size > TELL_FROM else new:
            self._add(name, there[name])
        self._base.execute("CREATE INDEX IF NOT EXISTS by_digest ON calls (digest)")

    def _add(self, name: str, status: os.stat_result) -> None:
        row = (name, status.st_size, status.st_mtime_ns)
        number = self._base.execute("INSERT INTO files (name, size, mtime) VALUES (?, ?, ?)", row).lastrowid
        rows = ((digest, number, offset) for digest, offset in _digests(self.folder / name))
        self._base.executemany("INSERT INTO calls VALUES (?, ?, ?)", rows)


def _name(folder: Path, root: Path) -> str:
    """The ledger as seen from the root, so that an index moves along with results/."""
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder.resolve())


def _open(file: Path) -> sqlite3.Connection:
    """The index in `file`, emptied when it is damaged or of another layout; in memory when it cannot be written."""
    for _ in range(2):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None)
            if base.execute("PRAGMA user_version").fetchone()[0] not in (0, LAYOUT):
                raise sqlite3.DatabaseError("another layout")
            _prepare(base)
            return base
        except sqlite3.OperationalError as error:
            logger.warning("%s: %s; the index is not kept", file, error)
            break
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: %s; the index is not kept", file, error.strerror)
            break
    base = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(base)
    return base


def _prepare(base: sqlite3.Connection) -> None:
    base.executescript(SCHEMA)
    base.execute(f"PRAGMA user_version = {LAYOUT}")
    base.execute("BEGIN IMMEDIATE")  # a read-only place is told here, not half-way
    base.execute("COMMIT")
    base.execute("PRAGMA cache_size = -200000")


def _digests(file: Path) -> Iterator[tuple[bytes, int]]:
    """(digest, offset) of every line; what a line says is checked when it is read, not here."""
    start, end = len(OPENING), len(OPENING) + 64
    for _, offset, line in scan_file(file):
        if line.startswith(OPENING) and line[end : end + 1] == b'"':
            try:
                yield bytes.fromhex(line[start:end].decode("ascii")), offset
            except ValueError:  # a damaged line: `--verify` tells
                continue
