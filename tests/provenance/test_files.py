"""Atomic writers leave the old file or the new one, never half; the same rows give the same bytes."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from stillhouse.provenance.digests import canonical_json, digest_file, digest_json, prompt_id, seed_from
from stillhouse.provenance.files import (
    atomic_path,
    parquet_sink,
    read_json,
    read_parquet_rows,
    stream_parquet_rows,
    write_json,
    write_parquet,
    write_text,
)

SCHEMA = pa.schema([("id", pa.string()), ("calls", pa.list_(pa.string())), ("n", pa.int32())])


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_and_what_it_pointed_to_stays(tmp_path: Path) -> None:
    kept, target = tmp_path / "kept", tmp_path / "target"
    kept.write_text("kept")
    target.hardlink_to(kept)
    write_text(target, "new")
    assert (kept.read_text(), target.read_text()) == ("kept", "new")


def test_text_and_json_are_written_as_given(tmp_path: Path) -> None:
    write_text(tmp_path / "deep/er/t", "a\r\nb\n\u2028é")
    assert (tmp_path / "deep/er/t").read_bytes() == "a\r\nb\n\u2028é".encode()
    write_json(tmp_path / "j", {"b": [1, 2.5], "a": "é"})
    assert (tmp_path / "j").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
    assert read_json(tmp_path / "j") == {"a": "é", "b": [1, 2.5]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "j", float("nan"))


def test_parquet_is_the_same_bytes_for_the_same_rows(tmp_path: Path) -> None:
    rows = [{"id": str(n), "calls": ["a"] * (n % 3), "n": None if n % 2 else n} for n in range(25_000)]
    write_parquet(tmp_path / "a", rows, SCHEMA)
    write_parquet(tmp_path / "b", [dict(reversed(row.items())) for row in rows], SCHEMA)
    assert digest_file(tmp_path / "a") == digest_file(tmp_path / "b")
    assert read_parquet_rows(tmp_path / "a") == rows
    assert read_parquet_rows(tmp_path / "a", ["n"])[2] == {"n": 2}
    write_parquet(tmp_path / "none", [], SCHEMA)
    assert read_parquet_rows(tmp_path / "none") == []


def test_digests() -> None:
    assert canonical_json({"b": 1, "a": [None, "é", 1.5]}) == '{"a":[null,"é",1.5],"b":1}'
    assert digest_json({"a": 1, "b": 2}) == digest_json(json.loads('{"b": 2, "a": 1}'))
    assert seed_from("a", 1) != seed_from("a1")
    assert seed_from("a", "b") != seed_from("b", "a")
    assert prompt_id([{"role": "user", "content": "x"}]) != prompt_id([{"role": "user", "content": "x "}])


def test_rows_stream_into_parquet_and_out_again(tmp_path: Path) -> None:
    rows = [{"id": f"row {number}", "calls": ["c"], "n": number} for number in range(25)]
    for name in ("a", "b"):
        with parquet_sink(tmp_path / name, SCHEMA, 10) as write:
            for row in rows:
                write(row)
            assert not (tmp_path / name).exists()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert list(stream_parquet_rows(tmp_path / "a")) == read_parquet_rows(tmp_path / "a") == rows
    with parquet_sink(tmp_path / "none", SCHEMA, 10):
        pass
    assert list(stream_parquet_rows(tmp_path / "none")) == []


@pytest.mark.parametrize("at", [0, 12, 24])
def test_a_row_that_does_not_fit_leaves_no_file(tmp_path: Path, at: int) -> None:
    def write_all() -> None:
        with parquet_sink(tmp_path / "a", SCHEMA, 10) as write:
            for number in range(25):
                write({"id": "x", "n": "no number" if number == at else number})

    with pytest.raises(pa.ArrowInvalid):
        write_all()
    assert list(tmp_path.iterdir()) == []
