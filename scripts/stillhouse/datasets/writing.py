"""The second pass: chosen rows become rows of the dataset, and dropped rows are named."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from stillhouse.datasets.batches import Batch
from stillhouse.datasets.choice import Choice
from stillhouse.datasets.examples import ANCESTRY, Format, FormatContext, table_of
from stillhouse.datasets.facts import ALIVE, Facts, Fates
from stillhouse.datasets.naming import DROPPED, Details
from stillhouse.datasets.ordering import order_of
from stillhouse.datasets.pairing import Examples, columns_of, examples_of
from stillhouse.datasets.sources import Answers, in_threads
from stillhouse.datasets.split import SPLITS
from stillhouse.datasets.writer import BUCKET_ROWS, PlacedWriter


@dataclass(frozen=True)
class Entries:
    """The entries of the dataset in the order in which their rows are read."""

    row: np.ndarray
    number: np.ndarray
    copy: np.ndarray
    split: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, examples: Examples, choice: Choice) -> "Entries":
        """Sorted by row, and by the example within the row."""
        row, number = examples.row[choice.example], examples.number[choice.example]
        order = order_of(number, row)
        return cls(row[order], number[order], choice.copy[order], choice.split[order], choice.place[order])

    def within(self, rows: slice) -> "Entries":
        """Those of some neighbouring rows, which are then counted from 0."""
        own = slice(*np.searchsorted(self.row, [rows.start, rows.stop]))
        return Entries(self.row[own] - rows.start, self.number[own], self.copy[own], self.split[own], self.place[own])


@dataclass(frozen=True)
class Part:
    """Rows of the dataset without `copy`, and for every entry which of them it is."""

    rows: pa.RecordBatch
    chosen: np.ndarray


class SplitWriter:
    """Makes the files of a dataset out of the answers.

    Args:
        rich: whether messages hold more than roles and texts, which decides the schema.
    """

    def __init__(self, form: Format, context: FormatContext, rich: bool) -> None:
        self._form = form
        self._context = context
        self._rich = rich
        self._schema = form.schema(rich)

    def write(
        self,
        output: Path,
        answers: Answers,
        facts: Facts,
        fates: Fates,
        entries: Entries,
        details: Details,
        threads: int,
    ) -> None:
        """Write train, valid, test and dropped.parquet into `output`. Raises `RuntimeError` when a row was lost."""
        output.mkdir(parents=True, exist_ok=True)
        gone = np.flatnonzero(facts.fate != ALIVE)
        places = np.full(len(facts), -1, np.int64)
        places[gone[np.argsort(facts.place[gone])]] = np.arange(len(gone))
        with tempfile.TemporaryDirectory(prefix=".build-", dir=output) as name:
            folder = Path(name)
            splits = [
                PlacedWriter(
                    output / f"{split}.parquet", self._schema, int((entries.split == number).sum()), folder, BUCKET_ROWS
                )
                for number, split in enumerate(SPLITS)
            ]
            dropped = PlacedWriter(output / "dropped.parquet", DROPPED, len(gone), folder, BUCKET_ROWS)
            writers = (*splits, dropped)

            def work(batch: Batch) -> list[tuple[PlacedWriter, pa.RecordBatch]]:
                rows = answers.rows_of(batch)
                found = self._scattered(splits, batch, entries.within(rows))
                lost = np.flatnonzero(places[rows] >= 0)
                if len(lost):
                    told = _named(batch, lost, rows, facts, fates, details)
                    found.append((dropped, dropped.placed(told, np.arange(len(lost)), places[rows][lost])))
                return found

            for _, parts in in_threads(work, answers.batches(columns_of(self._form)), threads):
                for writer, part in parts:
                    writer.add(part)
            for writer in writers:
                writer.finish(threads)

    def _part(self, batch: Batch, own: Entries) -> Part | None:
        """The rows of the dataset that a batch gives; None where it gives none."""
        if not len(own.row):
            return None
        apart = np.ones(len(own.row), bool)
        apart[1:] = (np.diff(own.row) != 0) | (np.diff(own.number) != 0)
        rows, numbers, chosen = own.row[apart], own.number[apart], np.cumsum(apart) - 1
        made = self._table(batch, rows) if not self._rich else None
        if made is None:
            found = [
                {**example, **dict.fromkeys(_ANCESTRY_NAMES)}
                for example in examples_of(batch, rows, numbers, self._form, self._context)
            ]
            table = table_of(found, self._schema).combine_chunks()
            made = {name: _whole(table[name]) for name in self._own_names}
        arrays = {**made, **_ancestry(batch, rows)}
        names = [name for name in self._schema.names if name != "copy"]
        return Part(pa.RecordBatch.from_arrays([arrays[name] for name in names], names), chosen)

    @property
    def _own_names(self) -> list[str]:
        return [name for name in self._schema.names if name not in _ANCESTRY_NAMES]

    def _table(self, batch: Batch, rows: np.ndarray) -> Mapping[str, pa.Array] | None:
        return self._form.table(batch, rows) if self._form.table is not None else None

    def _scattered(
        self, splits: list[PlacedWriter], batch: Batch, own: Entries
    ) -> list[tuple[PlacedWriter, pa.RecordBatch]]:
        """The entries that a batch gives, by the file in which they stand."""
        part = self._part(batch, own)
        found = []
        for number, writer in enumerate(splits):
            mine = own.split == number
            if part is not None and mine.any():
                copy = pa.array(own.copy[mine], pa.int32())
                found.append((writer, writer.placed(part.rows, part.chosen[mine], own.place[mine], copy=copy)))
        return found


def _named(batch: Batch, gone: np.ndarray, rows: slice, facts: Facts, fates: Fates, details: Details) -> pa.RecordBatch:
    """The rows `gone` of a batch as dropped.parquet tells of them."""
    told = [fates.named[number] for number in facts.fate[rows][gone].tolist()]
    part = batch.table.select(["prompt_id", "set", "id"]).take(pa.array(gone))
    columns = {
        **{name: part.column(name) for name in part.schema.names},
        "generation": pa.repeat(batch.generation, len(gone)),
        "sample": pa.array(facts.sample[rows][gone], pa.int32()),
        "stage": pa.array([fate.stage if fate else None for fate in told], pa.string()),
        "reason": pa.array([fate.reason if fate else None for fate in told], pa.string()),
        "detail": pa.array([details.of(rows.start + row) for row in gone.tolist()], pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in DROPPED.names], schema=DROPPED)


_ANCESTRY_NAMES = tuple(field.name for field in ANCESTRY)


def _ancestry(batch: Batch, rows: np.ndarray) -> dict[str, pa.Array]:
    """The columns by which rows of the dataset are traced back, without `copy`."""
    part = batch.table.select(["prompt_id", "set", "id", "category", "calls", "sample"]).take(pa.array(rows))
    found = {name: part.column(name) for name in part.schema.names}
    return {**found, "sample": found["sample"].fill_null(0), "generation": pa.repeat(batch.generation, len(rows))}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
