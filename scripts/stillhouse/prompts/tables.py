"""Reads the rows of parquet files and of Hugging Face datasets, batch by batch."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.lines import DAMAGED, damaged, is_packed, open_bytes
from stillhouse.prompts.records import Record, flawed

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1_000
"""Rows in memory at once."""

Row = dict[str, Any]


def read_parquet(file: Path) -> Iterator[Record]:
    """The rows of a parquet file, numbered from 1; columns with bytes (images, sounds) are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = 0
    try:
        with _seekable(file) as stream, pq.ParquetFile(stream, pre_buffer=False) as parquet:
            names = readable_columns(parquet.schema_arrow)
            for batch in parquet.iter_batches(batch_size=BATCH, columns=names):
                yield from rows_of_batch(batch, done)
                done += len(batch)
    except Flaw as flaw:
        yield flawed(0, "", flaw)
    except (pa.ArrowException, OSError) as error:
        flaw = Flaw("damaged_file", f"it cannot be read as parquet from here on ({error})")
        yield flawed(done + 1, "", flaw)


def columns_of_parquet(file: Path) -> list[str] | None:
    """The columns that are read of a parquet file, None where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _seekable(file) as stream, pq.ParquetFile(stream, pre_buffer=False) as parquet:
            return readable_columns(parquet.schema_arrow)
    except (pa.ArrowException, OSError, Flaw):
        return None


@contextmanager
def _seekable(file: Path) -> Iterator[BufferedIOBase]:
    """A parquet file to jump about in; a gzipped one is unpacked into a temporary file first. Raises `InputError`, `Flaw`."""
    with open_bytes(file) as stream, tempfile.TemporaryFile() as unpacked:
        if is_packed(file):
            try:
                shutil.copyfileobj(stream, unpacked, 1 << 20)
            except DAMAGED as error:
                raise damaged(error) from None
            unpacked.seek(0)
            stream = unpacked
        if not stream.seek(0, 2):
            raise Flaw("empty_file", "the file is empty")
        stream.seek(0)
        yield stream


def readable_columns(schema: "pa.Schema") -> list[str]:
    """Names of the columns that hold no bytes; what has no text form is no part of a prompt."""
    return [field.name for field in schema if not _holds_bytes(field.type)]


def _holds_bytes(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def rows_of_batch(batch: "pa.RecordBatch", before: int) -> Iterator[Record]:
    """The rows of a batch, numbered behind `before` earlier ones; a null is no value."""
    columns = [(name, _plain(column)) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    try:
        values = [_values(column) for _, column in columns]
    except UnicodeDecodeError:
        yield from _rows_one_by_one(columns, len(batch), before)
        return
    names = [name for name, _ in columns]
    for number in range(len(batch)):
        row = {name: value[number] for name, value in zip(names, values, strict=True) if value[number] is not None}
        yield Record(before + number + 1, row, _same)


def _rows_one_by_one(columns: "list[tuple[str, pa.Array]]", rows: int, before: int) -> Iterator[Record]:
    for number in range(rows):
        try:
            cells = {name: _values(column.slice(number, 1))[0] for name, column in columns}
        except UnicodeDecodeError:
            yield flawed(before + number + 1, "", Flaw("not_utf8", "not UTF-8"))
        else:
            yield Record(before + number + 1, {n: cell for n, cell in cells.items() if cell is not None}, _same)


def _same(row: Row) -> Row:
    return row


def _plain(column: "pa.Array") -> "pa.Array":
    """A column with times, dates and decimals as text: JSON has none of them."""
    import pyarrow as pa
    import pyarrow.types as types

    kind = column.type
    if types.is_duration(kind):
        return column.cast(pa.int64())
    return column.cast(pa.string()) if types.is_temporal(kind) or types.is_decimal(kind) else column


def _values(column: "pa.Array") -> list[Any]:
    """The values of a column, with objects as JSON would have them."""
    opened = _opener(column.type)
    found = column.to_pylist()
    return found if opened is None else [None if value is None else opened(value) for value in found]


def _opener(kind: "pa.DataType") -> Callable[[Any], Any] | None:
    """What makes plain JSON values of a nested type's, None where they are plain.

    A column of objects gives every object the keys of all: those without a value go, but for the content of a turn,
    which is null where it only calls tools. Columns that `datasets` marks as JSON hold it as text.
    """
    import pyarrow as pa
    import pyarrow.types as types

    if isinstance(kind, pa.JsonType):
        return json.loads
    if types.is_map(kind):
        return dict
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = _opener(kind.value_type)
        return item and (lambda values: [None if value is None else item(value) for value in values])
    if not types.is_struct(kind):
        return None
    parts = {field.name: _opener(field.type) for field in kind}
    stays = {"content"} if "role" in parts else set()

    def opened(value: Row) -> Row:
        pairs = ((key, item, parts[key]) for key, item in value.items() if item is not None or key in stays)
        return {key: part(item) if part and item is not None else item for key, item, part in pairs}

    return opened


def rows_of_batches(batches: "Iterable[pa.Table]") -> Iterator[Record]:
    """The rows of tables, numbered through."""
    done = 0
    for table in batches:
        for batch in table.select(readable_columns(table.schema)).to_batches():
            yield from rows_of_batch(batch, done)
            done += len(batch)


def check_own_columns(place: str, columns: list[str], wanted: list[str]) -> None:
    """Refuse a table with none of the columns that hold the prompt, or with two of one name. Raises `InputError`."""
    doubled = next((name for name in columns if columns.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"{place}: two columns are called {doubled!r}; one of them would be lost")
    if not set(columns) & set(wanted):
        shown = ", ".join(map(repr, columns[:20])) or "none that holds text"
        raise InputError(
            f"{place}: no column {' or '.join(map(repr, wanted))}; it has {shown}. Name the right one in `columns`"
        )
