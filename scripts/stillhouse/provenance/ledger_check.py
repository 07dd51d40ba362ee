"""Checks every line of a ledger: sound, torn, or changed, and answered in more than one line."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import LedgerError
from stillhouse.provenance.call_places import Places, Spot
from stillhouse.provenance.ledger_index import SUFFIX, time_of
from stillhouse.provenance.ledger_lines import Mark, check_line, decode_answer, is_torn, scan_file
from stillhouse.provenance.open_files import OpenFiles
from stillhouse.provenance.progress import track

NAMED = 20
"""Calls that were answered twice and differ, which are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A line of a ledger file: its place in bytes, and what it answers or why it cannot be trusted.

    `torn` is a last line that a kill or a power cut ended; `fault` is another reason.
    """

    number: int
    offset: int
    length: int
    mark: Mark | None = None
    torn: bool = False
    fault: str | None = None


@dataclass(frozen=True)
class Damage:
    """A line that cannot be trusted; `line` counts from 1."""

    file: str
    line: int
    reason: str


@dataclass
class LedgerCheck:
    """What a check of a whole ledger found.

    `lines` are those that are sound, `calls` the requests that they answer, `doubles` the lines beyond the first of
    each, `differing` how many of those say something else, `differ` the digests of the first of them.
    """

    files: int = 0
    lines: int = 0
    calls: int = 0
    doubles: int = 0
    differing: int = 0
    differ: list[str] = field(default_factory=list)
    torn: list[Damage] = field(default_factory=list)
    faults: list[Damage] = field(default_factory=list)


def check_file(file: Path) -> Iterator[Checked]:
    """Every line of one file, checked to the byte; raises `OSError`."""
    for number, offset, line in scan_file(file):
        try:
            yield Checked(number, offset, len(line), mark=check_line(line))
        except ValueError as error:
            torn = is_torn(line)
            yield Checked(number, offset, len(line), torn=torn, fault=None if torn else str(error))


def ledger_files(folder: Path) -> list[Path]:
    """The files of a ledger in the order of their names; raises `LedgerError` when there is no such folder."""
    if not folder.is_dir():
        raise LedgerError(f"there is no ledger at {folder}; `--ledger FOLDER` names another place")
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if file.is_file() or not file.exists())


def check_ledger(folder: Path) -> LedgerCheck:
    """Check every line of every file; no index is trusted. Raises `LedgerError` when there is no ledger."""
    files, places, found = ledger_files(folder), Places(), LedgerCheck()
    found.files = len(files)
    for place, file in enumerate(track(files, "ledger")):
        try:
            for line in check_file(file):
                if line.mark is None:
                    kind = found.torn if line.torn else found.faults
                    kind.append(Damage(file.name, line.number, line.fault or "cut off by a kill"))
                    continue
                found.lines += 1
                places.add(
                    bytes.fromhex(line.mark.digest), Spot(time_of(line.mark.at), place, line.offset, line.length)
                )
        except OSError as error:
            found.faults.append(Damage(file.name, 0, f"cannot be read ({error.strerror})"))
    _count_doubles(folder, files, places, found)
    return found


def _count_doubles(folder: Path, files: list[Path], places: Places, found: LedgerCheck) -> None:
    opened = OpenFiles(folder)
    for digest, spots in places.groups():
        found.calls += 1
        found.doubles += len(spots) - 1
        if len(spots) == 1:
            continue
        lines = (opened.read(files[spot.file].name, spot.offset, spot.length) for spot in spots)
        first, *others = [decode_answer(line)[1]["answer"] for line in lines]
        differing = sum(other != first for other in others)
        found.differing += differing
        if differing and len(found.differ) < NAMED:
            found.differ.append(digest.hex())
