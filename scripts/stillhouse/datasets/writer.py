"""Rows into one parquet file in an order other than that in which they come, in bounded memory.

Rows are scattered over buckets by their place; each bucket is then read, put in order, and written. A file of one
bucket never leaves memory. The bytes are the same for every number of buckets.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from stillhouse.datasets.in_turn import in_turn
from stillhouse.datasets.joined_parquet import JoinedParquet, encoded
from stillhouse.provenance.files import atomic_path

GROUP_ROWS = 10_000
BUCKET_ROWS = 40_000
"""A whole number of row groups."""
PLACE = "\x00place"


class PlacedWriter:
    """Writes `rows` rows of a schema to `path`; `add` takes them in any order, from one thread. The file is there after `finish`.

    Args:
        folder: takes the buckets of a file that is larger than one.
        bucket_rows: rows that are in memory at once, a multiple of `GROUP_ROWS`.
    """

    def __init__(self, path: Path, schema: pa.Schema, rows: int, folder: Path, bucket_rows: int) -> None:
        self.path = path
        self.rows = rows
        self._schema = schema
        self._bucket_rows = bucket_rows
        self._placed = schema.append(pa.field(PLACE, pa.int64()))
        self._buckets = max(-(-rows // bucket_rows), 1)
        self._folder = folder
        self._memory: list[pa.RecordBatch] = []
        self._files: dict[int, ipc.RecordBatchFileWriter] = {}
        self._open = ExitStack()

    def placed(self, part: pa.RecordBatch, rows: np.ndarray, places: np.ndarray, **more: pa.Array) -> pa.RecordBatch:
        """The rows of `part` that `rows` numbers, with the place of each in the file, ready for `add`.

        Columns that `part` lacks come in `more`, one value for each of `rows`. May be called from any thread.
        """
        order = np.argsort(places)
        own, chosen = pa.array(order), pa.array(rows[order])
        arrays = [
            more[name].take(own) if name in more else part.column(name).take(chosen) for name in self._schema.names
        ]
        return pa.RecordBatch.from_arrays([*arrays, pa.array(places[order], pa.int64())], schema=self._placed)

    def add(self, part: pa.RecordBatch) -> None:
        """Take rows, `placed`."""
        if self._buckets == 1:
            self._memory.append(part)
            return
        bucket = part.column(PLACE).to_numpy() // self._bucket_rows
        begins = np.flatnonzero(np.diff(bucket, prepend=-1))
        for first, last in zip(begins, [*begins[1:], len(bucket)], strict=True):
            self._file(int(bucket[first])).write_batch(part.slice(first, last - first))

    def _file(self, bucket: int) -> ipc.RecordBatchFileWriter:
        if bucket not in self._files:
            self._files[bucket] = self._open.enter_context(ipc.new_file(str(self._bucket(bucket)), self._placed))
        return self._files[bucket]

    def _bucket(self, number: int) -> Path:
        return self._folder / f"{self.path.name}.{number}"

    def finish(self, threads: int = 1) -> None:
        """Write the file; raises `RuntimeError` when rows are missing or came twice (a bug).

        `threads` put buckets in order and encode them; the bytes of the file do not tell how many they were.
        """
        self._open.close()
        with atomic_path(self.path) as temporary, temporary.open("wb") as file, JoinedParquet(file) as joined:
            for _, part in in_turn(self._encoded, range(self._buckets), threads):
                joined.add(part)

    def _encoded(self, number: int) -> pa.Buffer:
        return encoded(self._ordered(number), GROUP_ROWS)

    def _ordered(self, number: int) -> pa.Table:
        """The rows of one bucket in their order; its file goes."""
        table = pa.Table.from_batches(self._batches(number), self._placed).combine_chunks()
        if number in self._files:
            self._bucket(number).unlink()  # what is not on the disk yet need not go there any more
        places = table[PLACE].to_numpy()
        order = np.argsort(places)
        first = number * self._bucket_rows
        expected = np.arange(first, min(first + self._bucket_rows, self.rows))
        if not np.array_equal(places[order], expected):
            raise RuntimeError(f"{self.path.name}: {len(places)} rows came for {len(expected)} places from {first} on")
        return table.drop_columns([PLACE]).take(pa.array(order)).cast(self._schema)

    def _batches(self, number: int) -> list[pa.RecordBatch]:
        if self._buckets == 1:
            return self._memory
        if number not in self._files:
            return []
        with pa.memory_map(str(self._bucket(number))) as source:
            reader = ipc.open_file(source)
            return [reader.get_batch(place) for place in range(reader.num_record_batches)]
