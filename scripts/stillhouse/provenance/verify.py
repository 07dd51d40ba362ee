"""Checks a results folder against its records: every file, record, ledger line and store entry, to the byte.

Nothing is repaired. A fault names the file and the job concerned; a note tells what cannot be checked or is no fault.
"""

import os
from pathlib import Path

from stillhouse.provenance.ledger_calls import writer_of
from stillhouse.provenance.ledger_check import check_file
from stillhouse.provenance.lineage import APART, RESULTS, Lineage, Node, record_files
from stillhouse.provenance.progress import track
from stillhouse.provenance.tables import Table, Tables
from stillhouse.provenance.verification import Fault, Hashes, Note, Verification, plain_json
from stillhouse.provenance.verify_store import check_store

NAMED = 20
"""Calls without an answer that are named for one file; the others are counted."""


def verify(lineage: Lineage, node: Node | None, ledger: Path) -> Verification:
    """Rehash what one artefact (the job `node`) came from, or with None everything below results/.

    All records are checked in either case, and all lines of the ledger where rows name calls. With None also
    every store entry, and every file below results/ has to be named by a record or is told as unknown.
    """
    nodes = lineage.nodes if node is None else lineage.ancestry(node)
    result, hashes = Verification(), Hashes(lineage.root)
    _check_records(lineage, result)
    _check_files(lineage, nodes, hashes, result)
    _check_calls(lineage, nodes, ledger, result, every=node is None)
    if node is None:
        check_store(lineage, hashes, result)
        _tell_unknown(lineage, result)
    return result


def _check_records(lineage: Lineage, result: Verification) -> None:
    """Seals, and the very bytes: JSON has several spellings of one value, which a seal over values does not see."""
    for broken in lineage.broken:
        what = f"the record of {broken.artefacts[0]}" if broken.artefacts else "a record"
        result.faults.append(Fault(broken.path, broken.job, f"{what}: {broken.reason}"))
    for node in lineage.nodes:
        result.records += 1
        if (lineage.root / node.file).read_bytes() != plain_json(node.record):
            reason = "the bytes of the record are not those that were written: it was changed"
            result.faults.append(Fault(node.file.as_posix(), node.job, reason))
    result.records += len(lineage.broken)


def _check_files(lineage: Lineage, nodes: list[Node], hashes: Hashes, result: Verification) -> None:
    """Artefacts against their record, then inputs against those who read them."""
    size = sum(len(node.record["artefacts"]) for node in nodes)
    artefacts = ((node, item) for node in nodes for item in node.record["artefacts"])
    spoilt: set[str] = set()
    for node, item in track(artefacts, "files", size):
        result.files += 1
        fault = hashes.fault(item["path"], item["sha256"], item["size"])
        if fault:
            spoilt.add(item["path"])
            result.faults.append(Fault(item["path"], node.job, fault))
    readers: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        for item in node.inputs:
            readers.setdefault((item["path"], item["sha256"]), []).append(node)
    for (path, sha256), reading in readers.items():
        if path not in spoilt:
            _check_input(lineage, path, sha256, reading, hashes, result)


def _check_input(
    lineage: Lineage, path: str, sha256: str, reading: list[Node], hashes: Hashes, result: Verification
) -> None:
    """A file as its readers knew it: one that a job made anew, or that the user changed, makes them outdated."""
    made = lineage.node_of(path)
    if made is not None and made.sha256_of(path) == sha256:
        return  # looked at as an artefact
    jobs = ", ".join(node.job for node in reading[:3]) + (f" and {len(reading) - 3} more" if len(reading) > 3 else "")
    if lineage.is_record(path):
        if hashes.fault(path, sha256):
            result.notes.append(Note("outdated", path, f"written anew since it was read by {jobs}"))
        return
    if made is not None:
        reason = f"{made.job} made it anew; an earlier version (sha256 {sha256}) was read by {jobs}"
        result.faults.append(Fault(path, reading[0].job, reason))
        return
    fault = hashes.fault(path, sha256)
    damaged = [broken for broken in lineage.broken if path in broken.artefacts]
    if fault == "missing" and not path.startswith(f"{RESULTS}/"):
        result.notes.append(Note("absent", path, f"not here; a source of {jobs}"))
        return
    result.files += 1
    if fault:
        maker = damaged[0].job if damaged else reading[0].job
        result.faults.append(Fault(path, maker, f"{fault}; the older one was read by {jobs}"))


def _tell_unknown(lineage: Lineage, result: Verification) -> None:
    """Files of results/ that no record names; those whose record is damaged were told with it."""
    named = {path for node in lineage.nodes for path in node.artefacts}
    records = set(record_files(lineage.root / RESULTS))
    for folder, names, files in os.walk(lineage.root / RESULTS):
        if Path(folder) == lineage.root / RESULTS:
            names[:] = [name for name in names if name not in APART]
            files = [name for name in files if name not in APART]
        for name in sorted(files):
            file = Path(folder) / name
            path = file.relative_to(lineage.root).as_posix()
            if path in named or file in records:
                continue
            broken = next((one for one in lineage.broken if one.stands_for(path)), None)
            why = f"cannot be checked: its record {broken.path} is damaged" if broken else "no record names it"
            result.notes.append(Note("unknown", path, why))


def _check_calls(lineage: Lineage, nodes: list[Node], folder: Path, result: Verification, *, every: bool) -> None:
    """Lines of the ledger, and that it answers every call that rows name."""
    tables = Tables(lineage)
    paths = (path for node in nodes for path in node.artefacts)
    naming = [table for path in paths if (table := tables.get(path, "calls"))]
    if not folder.is_dir() and any(tables.tried(lambda t=table: t.calls_named, 1) for table in naming):
        result.faults.append(Fault(str(folder), "calls", "no ledger here; `--ledger DIR` names another place"))
        return
    answered = _check_ledger(lineage, folder, result) if naming or every else set()
    for table in track(naming, "calls of rows"):
        missing = tables.tried(lambda t=table: _unanswered(t, answered, result), [])
        result.faults += [
            Fault(table.path, table.node.job, f"call {digest} has no answer in {folder}") for digest in missing[:NAMED]
        ]
        if len(missing) > NAMED:
            reason = f"{len(missing) - NAMED} more calls have no answer in {folder}"
            result.faults.append(Fault(table.path, table.node.job, reason))
    faulty = {fault.path for fault in result.faults}
    for text in tables.damaged:  # a file that its record finds sound and that cannot be read
        path = text.split(" (", 1)[0]
        if path not in faulty:
            result.notes.append(Note("damaged", path, text))


def _unanswered(table: Table, answered: set[str], result: Verification) -> list[str]:
    missing: list[str] = []
    for digests in table.call_groups():
        result.calls += len(digests)
        missing += [digest for digest in digests if digest not in answered]
    return missing


def _check_ledger(lineage: Lineage, folder: Path, result: Verification) -> set[str]:
    """Check every line; the digests that are answered."""
    writers = {"-".join([node.rule, *node.wildcards.values()]): node.job for node in lineage.nodes}
    answered: set[str] = set()
    for file in track(sorted(folder.glob("*.jsonl")), "ledger"):
        path = file.relative_to(lineage.root).as_posix() if file.is_relative_to(lineage.root) else str(file)
        writer = writer_of(file)
        job = writers.get(writer, writer)
        try:
            twice = _check_lines(file, path, job, answered, result)
        except OSError as error:
            result.faults.append(Fault(path, job, f"cannot be read ({error.strerror})"))
            continue
        if twice:
            text = f"{twice} of its calls were answered in another line, too; the earlier answer counts"
            result.notes.append(Note("twice", path, text))
    return answered


def _check_lines(file: Path, path: str, job: str, answered: set[str], result: Verification) -> int:
    """Check the lines of one file of the ledger and add to `answered`; how many calls were answered there already."""
    twice = 0
    for line in check_file(file):
        result.lines += 1
        if line.torn:
            text = f"line {line.number} was cut off by a kill; its call will be made again"
            result.notes.append(Note("torn", path, text))
        elif line.mark is None:
            result.faults.append(Fault(path, job, f"line {line.number}: {line.fault}"))
        else:
            twice += line.mark.digest in answered
            answered.add(line.mark.digest)
    return twice
