"""Merges the files of a ledger: one file a job, without torn, changed and doubled lines, in the order of time.

Nothing is removed before everything that stays is on the disk, so that a kill at any moment loses no call; what it left
doubled, the next compaction removes.
"""

import errno
import fcntl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from stillhouse.errors import LedgerError
from stillhouse.provenance.call_places import Places, Spot
from stillhouse.provenance.files import atomic_path
from stillhouse.provenance.ledger_calls import writer_of
from stillhouse.provenance.ledger_check import ledger_files
from stillhouse.provenance.ledger_index import SUFFIX, time_of
from stillhouse.provenance.ledger_lines import is_torn, mark_line, scan_file
from stillhouse.provenance.open_files import OpenFiles
from stillhouse.provenance.progress import track

ORDER = struct.Struct(">Q32sIQI")
"""Time, digest, file, offset, length: sorting these bytes sorts by time."""
PLACE = struct.calcsize(">IQI")


@dataclass
class Compaction:
    """What a compaction did, or would do: files before and after, calls kept, lines dropped by reason.

    `damaged` lines go to the file `kept_aside`, as somebody may want to mend them.
    """

    before: int = 0
    after: int = 0
    calls: int = 0
    doubles: int = 0
    torn: int = 0
    damaged: int = 0
    kept_aside: str | None = None
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


class Compactor:
    """One compaction of the ledger in `folder`; raises `LedgerError` when a job writes to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = ledger_files(folder)
        self.done = Compaction(before=len(self.files))
        self._open = OpenFiles(folder)
        self._sizes: list[int] = []
        self._damaged: list[tuple[int, int, int]] = []
        self._foreign: set[int] = set()
        for file in self.files:
            _check_idle(file)
        self._kept = self._choose()

    def _choose(self) -> dict[str, list[bytes]]:
        """Writer -> the lines that stay, in order."""
        places = Places()
        for number, file in enumerate(track(self.files, "ledger")):
            with _told(file):
                self._look_at(number, file, places)
        kept: dict[str, list[bytes]] = {}
        for digest, spots in places.groups():
            first = min(spots, key=lambda spot: (spot.time, spot.file, spot.offset))
            record = ORDER.pack(first.time, digest, first.file, first.offset, first.length)
            kept.setdefault(writer_of(self.files[first.file]), []).append(record)
            self.done.calls += 1
            self.done.doubles += len(spots) - 1
        for records in kept.values():
            records.sort()
        return kept

    def _look_at(self, number: int, file: Path, places: Places) -> None:
        """Take every line that a reader would believe; a file without any is not of the ledger's making and stays."""
        size, sound, torn = 0, 0, 0
        damaged: list[tuple[int, int, int]] = []
        for _, offset, line in scan_file(file):
            size = offset + len(line)
            try:
                mark = mark_line(line)
            except ValueError:
                if is_torn(line):
                    torn += 1
                else:
                    damaged.append((number, offset, len(line)))
                continue
            places.add(bytes.fromhex(mark.digest), Spot(time_of(mark.at), number, offset, len(line)))
            sound += 1
        self._sizes.append(size)
        if damaged and not sound:
            self._foreign.add(number)
            return
        self.done.torn += torn
        self.done.damaged += len(damaged)
        self._damaged += damaged

    def run(self, *, dry: bool) -> Compaction:
        """Write what stays, then remove the old files; with `dry` only tell."""
        leaving = self._files_to_rewrite()
        self.done.removed = sorted(self.files[number].name for number in leaving)
        writers = sorted(w for w, records in self._kept.items() if any(_file(r) in leaving for r in records))
        self.done.after = len(self.files) - len(leaving) + len(writers)
        if dry or not leaving:
            return self.done
        self._keep_damaged()
        self.done.written = [self._write(writer) for writer in track(writers, "writing")]
        gone = [number for number in sorted(leaving) if self.files[number].name not in self.done.written]
        self.done.removed = [self.files[number].name for number in gone]
        for number in gone:
            self._remove(number)
        return self.done

    def _files_to_rewrite(self) -> set[int]:
        """Numbers of the files that are not already the one file of their writer, sound and in order."""
        fine = set(self._foreign)
        for records in self._kept.values():
            number, end = _file(records[0]), 0
            for record in records:
                _, _, file, offset, length = ORDER.unpack(record)
                if file != number or offset != end:
                    break
                end = offset + length
            else:
                if end == self._sizes[number]:
                    fine.add(number)
        return set(range(len(self.files))) - fine

    def _write(self, writer: str) -> str:
        """One file with all lines of a writer; its name tells which they are, so that a second run writes the same."""
        records = self._kept[writer]
        calls = sha256(b"".join(record[: ORDER.size - PLACE] for record in records)).hexdigest()
        target = self.folder / f"{writer}-{calls[:16]}{SUFFIX}"
        with _told(target), atomic_path(target) as temporary, open(temporary, "wb") as stream:
            stream.writelines(self._read(records))
        return target.name

    def _read(self, records: list[bytes]) -> Iterator[bytes]:
        for record in records:
            _, digest, number, offset, length = ORDER.unpack(record)
            line = self._open.read(self.files[number].name, offset, length)
            try:
                sound = mark_line(line).digest == digest.hex()
            except ValueError:
                sound = False
            if not sound:
                raise LedgerError(f"{self.files[number]} was changed meanwhile; no file was removed")
            yield line

    def _keep_damaged(self) -> None:
        if not self._damaged:
            return
        with _told(self.folder):
            lines = [self._open.read(self.files[number].name, *place) for number, *place in self._damaged]
            content = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
            aside = self.folder / f"damaged-{sha256(content).hexdigest()[:16]}.txt"
            with atomic_path(aside) as temporary:
                temporary.write_bytes(content)
        self.done.kept_aside = aside.name

    def _remove(self, number: int) -> None:
        file = self.files[number]
        _check_idle(file)
        if file.stat().st_size != self._sizes[number]:
            raise LedgerError(f"{file} has grown meanwhile and stays; compact again when no run is going on")
        file.unlink()


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerError(f"{file}: {error.strerror}; no file was removed") from error


def _file(record: bytes) -> int:
    return ORDER.unpack(record)[2]


def _check_idle(file: Path) -> None:
    """Raises `LedgerError` when the job that writes a file lives: it holds a lock on it."""
    try:
        with open(file, "rb+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LedgerError(f"a job is writing to {file}; compact when no run is going on") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise LedgerError(f"{file}: {error.strerror}") from error
