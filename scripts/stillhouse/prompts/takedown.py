"""Proves that nothing of what a study takes down is left, and purges the ledger and the store of it."""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import LedgerError
from stillhouse.prompts.needles import SEPARATOR, Evidence, Needle, Needles, key_of, skeleton, stands_alone
from stillhouse.prompts.remains import is_parquet, search_file
from stillhouse.prompts.taken import ANSWER, PROMPT, TEXTS, SetSource, Taken, calls_of, find_taken, identified_rows
from stillhouse.provenance.files import atomic_path
from stillhouse.provenance.ledger_lines import decode_line, scan_file
from stillhouse.study.excludes import Exclude

STORE = ".store"


@dataclass(frozen=True, order=True)
class Remain:
    """Something of a prompt in a file: a `row` about it, its `prompt` text, or the text of an `answer` to it."""

    file: str
    prompt_id: str
    kind: str


@dataclass
class Findings:
    """What is left: in artefacts (a leak), in the ledger (calls by file) and in the store (prompts by entry)."""

    taken: Taken
    searched: int = 0
    leaks: list[Remain] = field(default_factory=list)
    ledger: dict[Path, int] = field(default_factory=dict)
    store: dict[Path, set[str]] = field(default_factory=dict)


def check_takedown(sources: Iterable[SetSource], exclude: Exclude, root: Path, ledger: Path) -> Findings:
    """Search everything below `root`/results for what `exclude` takes down.

    Every row, text and byte counts, whatever job made the file and whether the study still names it. Text that a
    prompt or an answer that stays holds as well is no leak where that stands. Raises `InputError` for a bad prompt file.
    """
    artefacts, stored = _files(root / "results", ledger)
    taken = find_taken(sources, exclude, artefacts, stored, ledger)
    findings = Findings(taken, searched=len(artefacts))
    if not taken.prompts:
        return findings
    search = _Search(taken, [*artefacts, *stored], ledger)
    name = {file: file.relative_to(root).as_posix() for file in artefacts}
    findings.leaks = sorted({Remain(name[file], *what) for file in artefacts for what in search.remains(file)})
    for file in stored:
        for identity, _ in search.remains(file):
            findings.store.setdefault(_entry(file, root), set()).add(identity)
    findings.ledger = {file: len(lines) for file, lines in _lines_about(ledger, search.needles, taken.calls) if lines}
    return findings


def _files(results: Path, ledger: Path) -> tuple[list[Path], list[Path]]:
    """Artefacts and files of the store below `results`, without the ledger."""
    calls = os.path.abspath(ledger) + os.sep
    files = [f for f in sorted(results.rglob("*")) if f.is_file() and not os.path.abspath(f).startswith(calls)]
    stored = [file for file in files if file.is_relative_to(results / STORE)]
    return [file for file in files if not file.is_relative_to(results / STORE)], stored


def _entry(file: Path, root: Path) -> Path:
    """The store's entry that a file belongs to."""
    store = root / "results" / STORE
    return store / file.relative_to(store).parts[0]


class _Search:
    """Searches files once each, by inode (the store shares its files with artefacts), and drops what is no leak."""

    def __init__(self, taken: Taken, files: list[Path], ledger: Path) -> None:
        self.needles = Needles(taken.texts.values())
        self._taken = taken
        self._seen: dict[tuple[int, int], Evidence] = {}
        self._rows = {file: self._owners(file) for file in files if is_parquet(file)}
        found = {needle for file in files for needle in self._evidence(file).cells}
        self._covers = _covers(found, taken, files, ledger)

    def remains(self, file: Path) -> set[tuple[str, str]]:
        """(prompt_id, kind) of everything that is left in a file."""
        rows = {(identity, "row") for identity in self._rows.get(file, ())}
        return rows | {
            (needle.prompt_id, needle.kind)
            for needle, cells in self._evidence(file).cells.items()
            if any(stands_alone(needle.key, cell, self._covers[needle]) for cell in cells)
        }

    def _owners(self, file: Path) -> set[str]:
        rows = identified_rows(file, ["messages", "prompt"])
        return {row["prompt_id"] for row in rows if self._taken.takes(row)}

    def _evidence(self, file: Path) -> Evidence:
        status = file.stat()
        inode = (status.st_dev, status.st_ino)
        if inode not in self._seen:
            self._seen[inode] = Evidence()
            search_file(file, self.needles, self._seen[inode])
        return self._seen[inode]


def _covers(found: set[Needle], taken: Taken, files: list[Path], ledger: Path) -> dict[Needle, set[str]]:
    """For each needle that was found the texts that stay and hold it too.

    A prompt's text may stand in another prompt; an answer's, and any short text, in other answers as well.
    """
    covers = {needle: {text for text in taken.kept if needle.key in text} for needle in found}
    for text in _kept_answers(taken, files, ledger) if found else ():
        key = key_of(text)
        for needle in found:
            if needle.key in key and (needle.kind == ANSWER or needle.short):
                covers[needle].add(key)
    return covers


def _kept_answers(taken: Taken, files: list[Path], ledger: Path) -> Iterator[str]:
    """Answers that stay: those of other calls, and recorded ones, which no call made."""
    for digest, call in calls_of(ledger):
        if digest not in taken.calls:
            yield from (text for text in (call["answer"]["text"], call["answer"]["reasoning"]) if text)
    for file in files:
        if is_parquet(file):
            for row in identified_rows(file, ["messages", "prompt", *TEXTS, "calls"]):
                if row.get("calls") == [] and not taken.takes(row):
                    yield from (row[name] for name in TEXTS if isinstance(row.get(name), str))


def _lines_about(ledger: Path, needles: Needles, calls: dict[str, str]) -> Iterator[tuple[Path, set[int]]]:
    """Numbers of the lines of each ledger file that are about a prompt that is taken down.

    A line that cannot be read counts when one of the prompts stands in it.
    """
    prompts = [needle for needle in needles.long.values() if needle.kind == PROMPT]
    for file in sorted(ledger.glob("*.jsonl")):
        found = set()
        for number, _, line in scan_file(file):
            try:
                about = decode_line(line)[0] in calls
            except ValueError:
                torn = skeleton(line.decode("utf-8", "replace").replace("\\n", SEPARATOR)).replace(SEPARATOR, "")
                about = any(needle.key in torn for needle in prompts)
            if about:
                found.add(number)
        yield file, found


@dataclass(frozen=True)
class Purged:
    """What a purge removed."""

    calls: int
    files: int
    entries: int


def purge(findings: Findings, ledger: Path) -> Purged:
    """Remove what is left in the ledger and the store; every other line of the ledger stays byte for byte.

    Raises `LedgerError` when a ledger file grows meanwhile: a run is writing to it.
    """
    needles = Needles(findings.taken.texts.values())
    calls = files = 0
    for file, lines in _lines_about(ledger, needles, findings.taken.calls):
        if lines:
            _rewrite(file, lines)
            calls, files = calls + len(lines), files + 1
    for folder in findings.store:
        _remove(folder)
    return Purged(calls, files, len(findings.store))


def _remove(entry: Path) -> None:
    """Remove an entry of the store; its manifest goes first, so that half an entry is no entry."""
    if entry.is_dir():
        (entry / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _rewrite(file: Path, without: set[int]) -> None:
    """Write a ledger file anew without some of its lines; one that has no other goes."""
    before = os.stat(file)
    kept = [line for number, _, line in scan_file(file) if number not in without]
    with atomic_path(file) as temporary:
        temporary.write_bytes(b"".join(kept))
        temporary.chmod(before.st_mode)
        if (os.stat(file).st_size, os.stat(file).st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise LedgerError(f"{file} is being written to; wait for the run to end and purge again")
    if not kept:
        file.unlink()
