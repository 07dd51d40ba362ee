"""Reads the sources again for the texts of what is taken, and for the excerpts of what is rejected."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.records import Record
from stillhouse.prompts.rows import Row, RowMaker
from stillhouse.prompts.selection import Scan, reason_of
from stillhouse.prompts.sources import Source

REJECTED_SCHEMA = pa.schema(
    [("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("excerpt", pa.string())]
)

BLOCK = 5_000

LEFT, KEPT, EXCLUDED, REJECTED = range(4)
"""What becomes of a record; plain numbers, since they are compared for each of millions."""

Reject = Callable[[Row], None]


class Rows:
    """Rows as columns, in a fraction of the memory that Python's own objects take.

    Texts are large ones: they may be more than the two gigabytes that a column of `SCHEMA` can hold in one piece.
    """

    def __init__(self, maker: RowMaker) -> None:
        self._schema = pa.schema([(field.name, pa.large_string()) for field in maker.schema])
        self._order = [(name, "ascending") for name in maker.order]
        self._waiting: list[Row] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, row: Row) -> None:
        """Take one row."""
        self._waiting.append(row)
        if len(self._waiting) == BLOCK:
            self._pack()

    def _pack(self) -> None:
        self._batches.append(pa.RecordBatch.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []

    def sorted(self) -> pa.Table:
        """All rows in their order; nothing is held back here afterwards."""
        self._pack()
        table = pa.Table.from_batches(self._batches, self._schema)
        self._batches = []
        return table.take(pc.sort_indices(table, self._order))


def fetch(
    sources: Sequence[Source],
    maker: RowMaker,
    scan: Scan,
    fates: NDArray[np.uint8],
    reject: Reject | None,
    *,
    excerpts: bool,
) -> tuple[pa.Table, pa.Table]:
    """Rows that are kept and rows that are taken down, each in the maker's order; rejected ones go to `reject` as they come.

    Raises `InputError` when a source is not what the scan read.
    """
    kept, excluded = Rows(maker), Rows(maker)
    coming = enumerate(fates.tobytes())
    for source in sources:
        for record in source.records():
            number, fate = next(coming, (-1, LEFT))
            if number < 0:
                raise _changed(source.label)
            if fate == REJECTED and reject is not None:
                excerpt = record.excerpt() if excerpts else ""
                reason = reason_of(scan.flaws[number])
                reject({"file": source.name, "line": record.line, "reason": reason, "excerpt": excerpt})
            elif fate in (KEPT, EXCLUDED):
                row = _row(source, maker, record, scan.prompts[number])
                (kept if fate == KEPT else excluded).add(row)
    if next(coming, None):
        raise _changed(sources[-1].label)
    return kept.sorted(), excluded.sorted()


def _row(source: Source, maker: RowMaker, record: Record, prompt: int) -> Row:
    try:
        row = maker.row(record.value())
    except Flaw:
        row = None
    if row is None or int(row["prompt_id"], 16) != prompt:
        raise _changed(source.place(record.line))
    return row


def _changed(place: str) -> InputError:
    return InputError(f"{place}: it changed while it was read; run again")


def rows_of(table: pa.Table) -> Iterator[Row]:
    """The rows of a table as dicts, few of them at once."""
    for batch in table.to_batches(max_chunksize=1_000):
        yield from batch.to_pylist()
