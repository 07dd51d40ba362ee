"""What all checks of conservation share: records and inputs of a file, and what is lost or foreign."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

from stillhouse.provenance.records import read_record

Row = dict[str, Any]
SHOWN = 3
ORDERS = ("first_second", "second_first")
"""How a pair of answers is shown to a judge."""


def record_of(file: Path) -> Row:
    """The record beside a file."""
    return read_record(file.with_name(f"{file.name}.record.json"))


def inputs_of(record: Row, name: str) -> list[Row]:
    """The inputs of one name in a record."""
    return [item for item in record["inputs"] if item["name"] == name]


def differences(expected: Iterable[Hashable], found: Iterable[Hashable]) -> Iterator[str]:
    """What is lost, foreign or there more often than it should be, each with some examples."""
    wanted, there = Counter(expected), Counter(found)
    for what, items in (("lost", wanted - there), ("foreign or doubled", there - wanted)):
        if items:
            shown = ", ".join(str(item) for item in sorted(items, key=str)[:SHOWN])
            yield f"{items.total()} {what}: {shown}{' ...' if len(items) > SHOWN else ''}"
