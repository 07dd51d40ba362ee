"""Rows in another order than they come, the same bytes through memory and through buckets."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillhouse.datasets.messages import RICH, rich_array
from stillhouse.datasets.writer import PlacedWriter

PLAIN = pa.schema(
    [("name", pa.string()), ("turns", pa.list_(pa.struct([("role", pa.string())]))), ("copy", pa.int32())]
)


def write(folder, places: np.ndarray, bucket_rows: int, parts: int):
    target = folder / f"{bucket_rows}-{parts}.parquet"
    scratch = folder / f"scratch-{bucket_rows}-{parts}"
    scratch.mkdir()
    writer = PlacedWriter(target, PLAIN, len(places), scratch, bucket_rows)
    for rows in np.array_split(np.arange(len(places)), parts):
        names = pa.array([f"row {place}" for place in places[rows]], pa.string())
        turns = pa.array(
            [[{"role": str(place)}] * (place % 3) for place in places[rows].tolist()], PLAIN.field("turns").type
        )
        part = pa.RecordBatch.from_arrays([names, turns], ["name", "turns"])
        writer.add(writer.placed(part, np.arange(len(rows)), places[rows], copy=pa.array(places[rows] % 5, pa.int32())))
    writer.finish()
    return target


@pytest.mark.parametrize("rows", [0, 1, 9_999, 25_001])
def test_buckets_do_not_show(tmp_path, rows):
    places = np.random.default_rng(3).permutation(rows)
    files = [
        write(tmp_path, places, bucket_rows, parts) for bucket_rows, parts in ((40_000, 1), (10_000, 4), (20_000, 7))
    ]
    assert len({file.read_bytes() for file in files}) == 1
    table = pq.read_table(files[0])
    assert table["name"].to_pylist() == [f"row {place}" for place in range(rows)]
    assert table["copy"].to_pylist() == [place % 5 for place in range(rows)]
    assert [len(turns) for turns in table["turns"].to_pylist()] == [place % 3 for place in range(rows)]
    assert table.schema.equals(PLAIN)


def test_a_row_of_a_part_may_come_several_times(tmp_path):
    schema = pa.schema([("name", pa.string()), ("copy", pa.int32())])
    writer = PlacedWriter(tmp_path / "a.parquet", schema, 3, tmp_path, 10_000)
    part = pa.RecordBatch.from_arrays([pa.array(["a", "b"])], ["name"])
    writer.add(writer.placed(part, np.array([0, 1, 0]), np.array([2, 1, 0]), copy=pa.array([1, 0, 0], pa.int32())))
    writer.finish()
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [
        {"name": "a", "copy": 0}, {"name": "b", "copy": 0}, {"name": "a", "copy": 1},
    ]  # fmt: skip


def test_messages_with_more_than_role_and_content(tmp_path):
    chats = [[{"role": "user", "content": f"Question {number}", "tool_calls": []}] for number in range(20_001)]
    schema = pa.schema([("prompt", RICH)])
    files = []
    for bucket_rows in (40_000, 10_000):
        writer = PlacedWriter(tmp_path / f"{bucket_rows}.parquet", schema, len(chats), tmp_path, bucket_rows)
        part = pa.RecordBatch.from_arrays([rich_array(chats)], schema=schema)
        writer.add(writer.placed(part, np.arange(len(chats)), np.arange(len(chats))[::-1].copy()))
        writer.finish()
        files.append(writer.path.read_bytes())
    assert files[0] == files[1]
    assert pq.read_schema(tmp_path / "10000.parquet").equals(schema)


@pytest.mark.parametrize("places", [[0, 1], [0, 1, 1], [0, 1, 3]])
def test_a_place_without_its_row_is_a_bug(tmp_path, places):
    schema = pa.schema([("name", pa.string())])
    writer = PlacedWriter(tmp_path / "a.parquet", schema, 3, tmp_path, 10_000)
    part = pa.RecordBatch.from_arrays([pa.array(["x"] * len(places))], ["name"])
    writer.add(writer.placed(part, np.arange(len(places)), np.array(places)))
    with pytest.raises(RuntimeError, match=r"a\.parquet: .* rows came for 3 places"):
        writer.finish()
    assert not (tmp_path / "a.parquet").exists()
