"""Prompt files: bad lines are told by file and line; ids and shards depend on a prompt's messages only."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import InputError
from stillhouse.prompts.read import read_prompts
from stillhouse.prompts.rows import SCHEMA
from stillhouse.prompts.shards import rows_of_shard
from stillhouse.provenance.files import read_parquet_rows, write_parquet

GOOD = '{"id": "a", "prompt": "First?"}'


def write(folder: Path, *lines: str | bytes) -> Path:
    file = folder / "prompts.jsonl"
    file.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + b"\n")
    return file


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "x"', "not JSON"),
        ('["x"]', "expected an object"),
        ('"x"', "expected an object"),
        ('{"prompt": ""}', '"prompt" is empty'),
        ('{"prompt": " \\n\\t"}', '"prompt" is empty'),
        ('{"prompt": 3}', '"prompt" is empty or missing'),
        ("{}", '"prompt" is empty or missing'),
        ('{"id": "a", "prompt": "Another?"}', "id 'a' was in line 1 already"),
        ('{"id": "b", "prompt": "First?"}', "was in line 1 already"),
        ('{"id": ["b"], "prompt": "x"}', "id must be text"),
        ('{"category": {}, "prompt": "x"}', "category must be text"),
        ('{"messages": []}', '"messages" must be a list'),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', '"messages" must be a list'),
        ('{"messages": [{"role": "robot", "content": "x"}]}', '"messages" must be a list'),
        ('{"messages": [{"role": "user", "content": " "}]}', '"messages" must be a list'),
        ('{"messages": "x"}', '"messages" must be a list'),
        ('{"prompt": "x", "score": NaN}', "NaN is not a JSON value"),
        ('{"prompt": "half a pair \\ud83d"}', "not JSON"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
    ],
)
def test_a_bad_line_is_told_by_file_and_line(tmp_path: Path, line: str | bytes, reason: str) -> None:
    file = write(tmp_path, GOOD, "", line)
    with pytest.raises(InputError) as caught:
        read_prompts(file, "s")
    assert f"{file} line 3: " in str(caught.value)
    assert reason in str(caught.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_prompts(tmp_path / "none.jsonl", "s")
    with pytest.raises(InputError, match="no prompts in it"):
        read_prompts(write(tmp_path, "", "  "), "s")


def test_byte_order_mark_windows_newlines_and_unicode_separators(tmp_path: Path) -> None:
    text = "Which of\u2028these\u0085two?"
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"prompt": text}, ensure_ascii=False).encode() + b"\r\n" + GOOD.encode()
    )
    assert {row["prompt"] for row in read_prompts(file, "s")} == {text, "First?"}


@pytest.mark.parametrize(("given_id", "shown"), [(0, "0"), (7, "7"), ("", None), (None, None), ("x", "x")])
def test_ids_are_kept_even_zero(tmp_path: Path, given_id: object, shown: str | None) -> None:
    row = read_prompts(write(tmp_path, json.dumps({"id": given_id, "prompt": "x"})), "s")[0]
    assert row["id"] == (shown or row["prompt_id"])


def test_messages_metadata_and_schema(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
    ]
    line = json.dumps({"messages": messages, "difficulty": 3, "ground_truth": {"b": 1, "a": None}})
    rows = read_prompts(write(tmp_path, line), "s")
    assert rows[0]["prompt"] == "Two?"
    assert json.loads(rows[0]["messages"]) == messages
    assert rows[0]["metadata"] == '{"ground_truth":{"a":null,"b":1}}'
    assert (rows[0]["difficulty"], rows[0]["category"]) == ("3", None)
    write_parquet(tmp_path / "p.parquet", rows, SCHEMA)
    assert read_parquet_rows(tmp_path / "p.parquet") == rows


def test_neither_order_nor_names_change_a_prompts_identity(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"p{i}", "prompt": f"Question {i}?"}) for i in range(40)]
    rows = read_prompts(write(tmp_path, *lines), "s")
    random.Random(1).shuffle(lines)
    assert read_prompts(write(tmp_path, *lines), "s") == rows
    renamed = [line.replace('"id": "p', '"id": "q') for line in lines]
    other = read_prompts(write(tmp_path, *renamed), "t")
    assert [row["prompt_id"] for row in other] == [row["prompt_id"] for row in rows]
    assert len({row["prompt_id"] for row in rows}) == 40


@given(st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), unique=True, max_size=60), st.integers(1, 9))
def test_every_prompt_lies_in_one_shard_which_no_other_prompt_moves(ids: list[str], shards: int) -> None:
    rows = [{"prompt_id": identity} for identity in ids]
    parts = [rows_of_shard(rows, shard, shards) for shard in range(shards)]
    assert sorted(row["prompt_id"] for part in parts for row in part) == sorted(ids)
    for shard in range(shards):
        fewer = rows_of_shard(rows[1:], shard, shards)
        assert fewer == [row for row in parts[shard] if row is not rows[0]] if rows else not fewer
