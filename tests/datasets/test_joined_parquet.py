"""Parts that were encoded apart become the file that one writer writes, byte for byte."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillhouse.datasets import thrift
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.joined_parquet import JoinedParquet, encoded

GROUP = 1_000


def rows_of(count: int, seed: int = 0) -> pa.Table:
    """Rows with every kind of column that datasets have, some of them null."""
    random = np.random.default_rng(seed)
    texts = [None if number % 7 == 0 else f"text {number} " * (number % 5) for number in random.integers(0, 99, count)]
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    columns = {
        "text": pa.array(texts, pa.string()),
        "turns": pa.array([[{"role": "user", "content": text}] * (len(text or "") % 3) for text in texts], turns),
        "json": pa.array([["{}"]] * count, pa.list_(pa.string())).cast(pa.list_(pa.json_())),
        "copy": pa.array(random.integers(-5, 5, count), pa.int32()),
        "number": pa.array(random.integers(-(2**60), 2**60, count)),
        "share": pa.array(random.random(count)),
        "good": pa.array(random.random(count) < 0.5),
    }
    return pa.table(columns)


def by_one_writer(parts: list[pa.Table]) -> bytes:
    file = io.BytesIO()
    with pq.ParquetWriter(file, parts[0].schema, compression="zstd", store_schema=True) as writer:
        for part in parts:
            if len(part):
                writer.write_table(part, row_group_size=GROUP)
    return file.getvalue()


def joined(parts: list[pa.Table]) -> bytes:
    file = io.BytesIO()
    with JoinedParquet(file) as whole:
        for part in parts:
            whole.add(encoded(part, GROUP))
    return file.getvalue()


@pytest.mark.parametrize("sizes", [[0], [1], [1_000, 1], [3_000, 3_000, 500], [0, 10, 0], [1_000] * 40])
def test_as_one_writer(sizes):
    parts = [rows_of(size, seed) for seed, size in enumerate(sizes)]
    found = joined(parts)
    assert found == by_one_writer(parts)
    assert pq.read_table(io.BytesIO(found)).equals(pa.concat_tables(parts))


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("rich", [False, True])
def test_columns_of_a_dataset(form, rich):
    schema = FORMATS[form].schema(rich)
    parts = [pa.Table.from_arrays([pa.nulls(1_500, one.type) for one in schema], schema=schema)] * 3
    assert joined(parts) == by_one_writer(parts)


@pytest.mark.parametrize("part", [b"", b"PAR1PAR1", b"no parquet file at all", by_one_writer([rows_of(5)])[:-1]])
def test_a_part_that_is_no_parquet_file(part):
    file = io.BytesIO()
    with pytest.raises(ValueError, match="no parquet file"), JoinedParquet(file) as whole:
        whole.add(pa.py_buffer(part))


def test_a_file_needs_a_part():
    with pytest.raises(ValueError, match="needs a part"), JoinedParquet(io.BytesIO()):
        pass


def test_footers_come_back_as_they_were():
    data = by_one_writer([rows_of(40_000)])
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert thrift.write_struct(thrift.read_struct(footer)) == footer


def test_fields_far_apart_and_long_lists():
    told = {
        1: (thrift.TRUE, True), 2: (thrift.FALSE, False), 40: (thrift.I64, -(2**62)), 41: (thrift.DOUBLE, b"12345678"),
        400: (thrift.LIST, (thrift.BINARY, [b"x" * 200] * 20)), 401: (thrift.SET, (thrift.TRUE, [1, 2, 1])),
        500: (thrift.STRUCT, {7: (thrift.I16, 300), 8: (thrift.BYTE, b"\x80"), 9: (thrift.I32, 0)}),
    }  # fmt: skip
    assert thrift.read_struct(thrift.write_struct(told)) == told


@pytest.mark.parametrize("data", [b"\x1b\x01", b"\x18\x7f", b"\x15"])
def test_what_no_footer_holds(data):
    with pytest.raises((ValueError, IndexError)):
        thrift.read_struct(data)
