"""What a verification found, for people and for programs."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.text import Text

from stillhouse.provenance.show_text import line
from stillhouse.provenance.verification import Verification

ALIKE = 20
"""Notes of one kind that are shown; `--json` lists all. Faults are never left out."""


def verification_lines(found: Verification) -> Iterator[Text]:
    """A line for every fault and for the first notes of each kind, then the sum."""
    for fault in found.faults:
        yield line(("FAULT", "red"), " ", f"{fault.path} ({fault.job}): {fault.reason}")
    shown: dict[str, int] = {}
    for note in found.notes:
        shown[note.kind] = shown.get(note.kind, 0) + 1
        if shown[note.kind] <= ALIKE:
            yield line(("note", "yellow"), " ", f"{note.path}: {note.text}")
    for kind, count in shown.items():
        if count > ALIKE:
            yield line(("note", "yellow"), f" … and {count - ALIKE} more of the kind `{kind}` (--json lists all)")
    counts = {
        "files": found.files,
        "records": found.records,
        "lines of the ledger": found.lines,
        "calls named by rows": found.calls,
        "entries of the store": found.entries,
    }
    looked = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    notes = f", {len(found.notes)} notes" if found.notes else ""
    if found.faults:
        yield line((f"{len(found.faults)} faults", "red"), f"{notes} in {looked}")
    else:
        yield line(("verified", "green"), f": {looked} are what the records say{notes}")


def verification_facts(found: Verification) -> dict[str, Any]:
    """As plain JSON types."""
    return {"sound": not found.faults, **asdict(found)}
