"""Finds calls in a ledger by digest, through an index beside results/ that is a cache and never trusted.

The index says where the line of a call lies: every sound line of every file up to a byte, the lines behind it being
scanned when the ledger is opened. A line is checked again whenever it is read. What the index holds of a file counts as
long as size and time are those that it saw, or the file grew and both ends of the indexed part are the same bytes; else
the file is scanned anew. The index is one file, replaced as a whole, so jobs on many machines may write it at once.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar

from stillhouse.errors import LedgerError
from stillhouse.provenance.call_places import Places, Spot
from stillhouse.provenance.digests import digest_text
from stillhouse.provenance.index_file import IndexedFile, load_index, save_index
from stillhouse.provenance.ledger_lines import OPENING, lines_from, mark_line
from stillhouse.provenance.open_files import OpenFiles
from stillhouse.provenance.progress import track

logger = logging.getLogger(__name__)
T = TypeVar("T")

FOLDER = Path(".stillhouse/index")
SUFFIX = ".jsonl"
KEPT_FROM = 2**23
"""Bytes of the ledger that no index covers, from which a new one is written; scanning less takes some 30 ms."""
KEPT_SHARE = 64
"""Of a large ledger more may be left to scan: one byte in as many."""
TELL_FROM = 2**25
"""Bytes to scan from which the user is told, as it takes a moment."""
GUARD = 4096
"""Bytes at each end of the indexed part of a file that are compared when the file has grown."""
WARNED = 3
"""Lines that are named when a file is scanned; the others are counted."""
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
NO_TIME = 2**64 - 1
"""A line whose time cannot be read comes after all others."""
DIGITS = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call's line lies."""

    file: Path
    offset: int
    length: int


def time_of(at: str) -> int:
    """Microseconds since 1970 of a time as ledger lines write it."""
    try:
        return max(0, (datetime.fromisoformat(at) - EPOCH) // MICROSECOND)
    except (ValueError, TypeError):
        return NO_TIME


class LedgerIndex:
    """The calls of the ledger in `folder`.

    `root` holds results/ and receives the index. `tell` takes messages for the user. Raises `LedgerError`
    when the ledger cannot be read.
    """

    def __init__(self, folder: Path, root: Path = Path(), *, tell: Callable[[str], None] = logger.info) -> None:
        self.folder = folder
        self.store = root / FOLDER / f"calls-{digest_text(_name(folder, root))[:12]}.idx"
        self._tell = tell
        self._open = OpenFiles(folder)
        self._own: str | None = None
        self._load()
        if self.refresh() and self.keep():
            self._load()  # mapped from the file, where it takes no memory of its own
            self.refresh()
        for file in self._live():
            if file.left_out:
                told = f"{file.left_out} of its lines left out; `python scripts/ledger.py verify` names them"
                logger.warning("%s: %s", self.folder / file.name, told)

    def _load(self) -> None:
        loaded = load_index(self.store)
        self._files: list[IndexedFile | None] = list(loaded.files) if loaded else []
        self._places = Places(loaded.run if loaded else None)
        self._numbers = {file.name: number for number, file in enumerate(loaded.files)} if loaded else {}
        self._new_bytes = 0

    def _live(self) -> list[IndexedFile]:
        return [file for file in self._files if file is not None]

    def refresh(self) -> bool:
        """Look at the folder once more and scan what is new; False when nothing had changed."""
        there = self._there()
        gone = [name for name in self._numbers if name not in there and name != self._own]
        for name in gone:
            self._forget(name)
        changed = {name: status for name, status in there.items() if self._changed(name, status)}
        sizes = {name: status.st_size - self._covered(name) for name, status in changed.items()}
        large = sum(sizes.values()) > TELL_FROM
        if large:
            self._tell(f"indexing {sum(sizes.values()) / 2**20:.0f} MiB of calls")
        names: Iterable[str] = sorted(changed)
        for name in track(names, "indexing calls") if large else names:
            self._follow(name, changed[name])
        return bool(gone or changed)

    def _there(self) -> dict[str, os.stat_result]:
        """Size and time of every file of the ledger."""
        found = {}
        try:
            for entry in os.scandir(self.folder):
                if entry.name.endswith(SUFFIX):
                    status = os.stat(entry.path)
                    if stat.S_ISREG(status.st_mode):
                        found[entry.name] = status
        except FileNotFoundError as error:
            if os.path.lexists(error.filename) and not os.path.exists(error.filename):
                raise LedgerError(f"{error.filename}: a link to nothing; its calls cannot be read") from error
            return found if not self.folder.is_dir() else self._there()  # a file went between two looks
        except OSError as error:
            raise _unreadable(error, self.folder) from error
        return found

    def _covered(self, name: str) -> int:
        return self._files[self._numbers[name]].covered if name in self._numbers else 0

    def _changed(self, name: str, status: os.stat_result) -> bool:
        if name == self._own:
            return False
        if name not in self._numbers:
            return True
        known = self._files[self._numbers[name]]
        return (known.size, known.mtime) != (status.st_size, status.st_mtime_ns)

    def _follow(self, name: str, status: os.stat_result) -> None:
        """Index what a file has behind the part that is known, or all of it when that part is not what it was."""
        known = self._files[self._numbers[name]] if name in self._numbers else None
        try:
            if known and not (status.st_size > known.size and _guard(self.folder / name, known.covered) == known.guard):
                self._forget(name)
                known = None
            self._scan(known or self._enter(name), status)
        except FileNotFoundError:  # it went between two looks
            if name in self._numbers:
                self._forget(name)
        except OSError as error:
            raise _unreadable(error, self.folder / name) from error

    def _enter(self, name: str) -> IndexedFile:
        self._numbers[name] = len(self._files)
        file = IndexedFile(name)
        self._files.append(file)
        return file

    def _forget(self, name: str) -> None:
        """Records of the file's number stay and count no more."""
        self._files[self._numbers.pop(name)] = None
        self._open.forget(name)

    def _scan(self, file: IndexedFile, status: os.stat_result) -> None:
        path, number = self.folder / file.name, self._numbers[file.name]
        begun = file.covered
        for offset, line in lines_from(path, file.covered):
            if not line.endswith(b"\n"):
                break  # torn, or its writer is not through yet
            file.covered = offset + len(line)
            try:
                mark = mark_line(line)
            except ValueError as error:
                file.left_out += 1
                if file.left_out <= WARNED:
                    logger.warning("%s at byte %d: left out: %s", path, offset, error)
                continue
            self._places.add(bytes.fromhex(mark.digest), Spot(time_of(mark.at), number, offset, len(line)))
        self._new_bytes += file.covered - begun
        file.size, file.mtime = status.st_size, status.st_mtime_ns
        file.guard = _guard(path, file.covered)

    def begin(self, name: str) -> None:
        """`name` is a new file that this process alone writes; its calls are told by `add`."""
        self._own = name
        self._enter(name)

    def add(self, digest: str, at: datetime, offset: int, length: int) -> None:
        """A line was appended to this process's own file."""
        number = self._numbers[self._own]
        self._places.add(bytes.fromhex(digest), Spot((at - EPOCH) // MICROSECOND, number, offset, length))
        self._files[number].covered = offset + length
        self._new_bytes += length

    def end(self) -> None:
        """This process's own file is a file like others from here on."""
        if self._own is not None:
            file = self._files[self._numbers[self._own]]
            path, self._own = self.folder / file.name, None
            try:
                file.guard = _guard(path, file.covered)
            except OSError:  # it is gone: the next look tells
                logger.warning("%s: the file is gone", path)

    def keep(self) -> bool:
        """Write the index when much is not in it yet; whether it was written."""
        covered = sum(file.covered for file in self._live())
        if self._new_bytes < max(KEPT_FROM, covered // KEPT_SHARE):
            return False
        return self._write()

    def _write(self) -> bool:
        try:
            save_index(self.store, self._files, self._places)
        except OSError as error:
            logger.warning("%s: %s; the index is not kept", self.store, error.strerror)
            return False
        self._new_bytes = 0
        return True

    def _earliest_first(self, spots: list[Spot]) -> list[Spot]:
        """The lines of files that still count, the one whose answer counts before the others."""
        live = [spot for spot in spots if self._files[spot.file] is not None]
        if len(live) > 1:
            live.sort(key=lambda spot: (spot.time, self._files[spot.file].name, spot.offset))
        return live

    def __contains__(self, digest: str) -> bool:
        return bool(self._spots(digest))

    def _spots(self, digest: str) -> list[Spot]:
        try:
            wanted = bytes.fromhex(digest)
        except ValueError:
            return []
        return self._earliest_first(self._places.find(wanted))

    def groups(self, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[str, list[Place]]]:
        """(digest, its lines, the one that counts first) in the order of digests, which lie between the bounds."""
        for digest, spots in self._places.groups(low, high):
            if live := self._earliest_first(spots):
                yield digest.hex(), [self._place(spot) for spot in live]

    def _place(self, spot: Spot) -> Place:
        return Place(self.folder / self._files[spot.file].name, spot.offset, spot.length)

    def place(self, digest: str) -> Place | None:
        """Where the line of a call lies, the earliest where several answer it."""
        spots = self._spots(digest)
        return self._place(spots[0]) if spots else None

    def matching(self, prefix: str, limit: int = 10) -> list[str]:
        """Digests that begin with the hex digits `prefix`, sorted, `limit` at most."""
        if not prefix or not set(prefix.lower()) <= set("0123456789abcdef") or len(prefix) > DIGITS:
            return []
        low, high = (bytes.fromhex(prefix.lower().ljust(DIGITS, digit)) for digit in "0f")
        return [digest for digest, _ in islice(self.groups(low, high + b"\0"), limit)]

    def fetch(self, digest: str, decode: Callable[[bytes], tuple[str, T]]) -> tuple[T, str] | None:
        """What `decode` makes of the line that answers a call, and its file's name; None where the ledger has none.

        `decode` gives (digest, value) or raises `ValueError`. A line that is not what the index says makes its file
        be scanned anew. Raises `LedgerError` when no line is sound any more.
        """
        faults: dict[str, str] = {}
        found = self._fetch(digest, decode, faults)
        if not faults:
            return found
        for name in faults:
            self._doubt(name)
        self.refresh()
        if self.store.exists():
            self._write()  # or every job would fall into the same trap
        found = self._fetch(digest, decode, {})
        if found is None:
            raise LedgerError(f"call {digest}: {next(iter(faults.values()))}")
        return found

    def _fetch(
        self, digest: str, decode: Callable[[bytes], tuple[str, T]], faults: dict[str, str]
    ) -> tuple[T, str] | None:
        for spot in self._spots(digest):
            name = self._files[spot.file].name
            try:
                told, value = decode(self._open.read(name, spot.offset, spot.length))
                if told != digest:
                    raise ValueError("another call stands there now")
                return value, name
            except (OSError, ValueError) as error:
                faults[name] = f"{self.folder / name} at byte {spot.offset}: {error}"
        return None

    def damage(self, digest: str) -> str | None:
        """What is wrong with the line that says it answers a call and was left out; None when there is no such line.

        Files of which lines were left out are scanned.
        """
        beginning = OPENING + digest.encode()
        for file in self._live():
            for offset, line in lines_from(self.folder / file.name) if file.left_out else ():
                try:
                    if line.startswith(beginning):
                        mark_line(line)
                except ValueError as error:
                    return f"{self.folder / file.name} at byte {offset}: {error}"
        return None

    def _doubt(self, name: str) -> None:
        """Scan a file anew at the next look."""
        self._open.forget(name)
        if name != self._own:
            known = self._files[self._numbers[name]]
            known.size, known.guard = -1, ""


def _name(folder: Path, root: Path) -> str:
    """The ledger as seen from the root, so that an index moves along with results/."""
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder.resolve())


def _guard(file: Path, covered: int) -> str:
    """Digest of the first and the last bytes of the indexed part of a file; raises `OSError`."""
    with open(file, "rb", buffering=0) as stream:
        first = os.pread(stream.fileno(), min(GUARD, covered), 0)
        last = os.pread(stream.fileno(), min(GUARD, covered), max(0, covered - GUARD))
    return sha256(first + last).hexdigest()


def _unreadable(error: OSError, place: Path) -> LedgerError:
    return LedgerError(f"{error.filename or place}: cannot be read ({error.strerror}); its calls would be paid again")
