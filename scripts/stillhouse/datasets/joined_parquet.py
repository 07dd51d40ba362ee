"""One parquet file out of parts that several threads encode.

pyarrow encodes and compresses a file in one thread. Here a part is a parquet file of its own in memory; the bytes of
its row groups are taken over, and of all footers one is made. The result is byte for byte what one writer gives that
gets the parts in turn. Footer: github.com/apache/parquet-format, src/main/thrift/parquet.thrift.
"""

from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.datasets import thrift
from stillhouse.datasets.thrift import Struct

MAGIC = b"PAR1"
_TAIL = 4 + len(MAGIC)
"""Bytes behind the footer: its length and the magic number."""

# ids of fields: of the file, of a row group, of a column chunk, of its metadata
_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_OFFSET = 1, 5
_CHUNK_OFFSETS, _CHUNK_META = (2, 4, 6), 3
_PAGE_OFFSETS = (9, 10, 11, 14)


def encoded(rows: pa.Table, group_rows: int) -> pa.Buffer:
    """A part: a whole parquet file of `rows`."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, rows.schema, compression="zstd", store_schema=True) as writer:
        if rows.num_rows:
            writer.write_table(rows, row_group_size=group_rows)
    return sink.getvalue()


class JoinedParquet:
    """Writes parts of one schema, in the order in which they come, to `file`; complete when the context ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._footer: Struct | None = None

    def __enter__(self) -> "JoinedParquet":
        self._write(MAGIC)
        return self

    def add(self, part: pa.Buffer) -> None:
        """Take over all rows of a part; raises `ValueError` where it is no parquet file."""
        data = memoryview(part)
        size = int.from_bytes(data[-_TAIL : -len(MAGIC)], "little")
        end = len(data) - _TAIL - size
        if data[-len(MAGIC) :] != MAGIC or end < len(MAGIC) or not size:
            raise ValueError("a part is no parquet file")
        footer = thrift.read_struct(bytes(data[end : end + size]))
        moved = self._at - len(MAGIC)
        self._write(data[len(MAGIC) : end])
        for group in _elements(footer, _GROUPS):
            _move_group(group, moved)
        self._join(footer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._footer is None:
            raise ValueError("a parquet file needs a part, if one without rows")
        footer = thrift.write_struct(self._footer)
        self._write(footer + len(footer).to_bytes(4, "little") + MAGIC)

    def _write(self, data: Any) -> None:
        self._file.write(data)
        self._at += len(data)

    def _join(self, footer: Struct) -> None:
        """Put the row groups of `footer` behind those that are there."""
        if self._footer is None:
            self._footer = footer
            return
        kind, rows = self._footer[_ROWS]
        self._footer[_ROWS] = (kind, rows + footer[_ROWS][1])
        _elements(self._footer, _GROUPS).extend(_elements(footer, _GROUPS))


def _elements(struct: Struct, field: int) -> list[Any]:
    """The elements of a field that is a list."""
    return struct[field][1][1]


def _move_group(group: Struct, by: int) -> None:
    _move(group, (_GROUP_OFFSET,), by)
    for chunk in _elements(group, _COLUMNS):
        _move(chunk, _CHUNK_OFFSETS, by)
        _move(chunk[_CHUNK_META][1], _PAGE_OFFSETS, by)


def _move(struct: Struct, fields: tuple[int, ...], by: int) -> None:
    """Move places in the file; 0 stands for none."""
    for field in fields:
        if field in struct and struct[field][1]:
            kind, place = struct[field]
            struct[field] = (kind, place + by)
