"""Answers in batches: texts as the plain forms read them, and bad files told by file, row and column."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.batches import Batch, open_answers, read_batches, turns_of
from stillhouse.datasets.text import count_words, jaccard, shingles
from stillhouse.errors import InputError
from stillhouse.provenance.digests import canonical_json

COLUMNS = ("prompt_id", "set", "id", "messages", "answer", "sample", "calls", "truncated")
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=8)},
        optional={"tool_calls": st.just([{"id": "1"}])},
    ),
    min_size=1,
    max_size=4,
)


def batch_of(chats: list[list[dict]]) -> Batch:
    texts = pa.array([canonical_json(chat) for chat in chats], pa.string())
    ids = pa.array([str(number) for number in range(len(chats))], pa.string())
    return Batch(0, "plans", 0, pa.RecordBatch.from_arrays([ids, texts], ["prompt_id", "messages"]))


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_texts_are_those_of_the_messages(chats):
    batch = batch_of(chats)
    pairs = [tuple((one["role"], one["content"]) for one in chat) for chat in chats]
    assert batch.prompt_texts().to_pylist() == [turns_of(chat)[0] for chat in pairs]
    turns = batch.turns()
    if turns is None:
        assert all(len(chat) == 1 for chat in chats)
    else:
        assert turns == [turns_of(chat) for chat in pairs]
    assert batch.rich is any("tool_calls" in one for chat in chats for one in chat)
    assert batch.prompt_words.tolist() == [count_words(turns_of(chat)[0]) for chat in pairs]


def picture(url: str) -> dict:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{url}"}}


def test_only_the_text_of_a_message_is_counted_and_pictures_are_told_apart():
    said = [{"type": "text", "text": "Describe this"}, "in a line"]
    contents = [
        None,
        [],
        [{"type": "text"}],
        *([*said, picture(url)] for url in ("iVBORw0 a b", "iVBORw0 a b", "AAAA")),
        said,
    ]
    batch = batch_of([[{"role": "user", "content": one}] for one in contents] + [[{"role": "tool"}]])
    texts = batch.prompt_texts().to_pylist()
    assert batch.prompt_words.tolist() == [0, 0, 0, 5, 5, 5, 5, 0]
    assert texts[6] == "Describe this\nin a line" and texts[0] == texts[1] == texts[7] == ""
    assert texts[3] == texts[4] != texts[5] and jaccard(shingles(texts[3]), shingles(texts[5])) < 0.5


def test_batches_are_even_and_cross_row_groups(house, tmp_path):
    rows = [house.answer_row(f"Question {number}") for number in range(100)]
    table = pq.read_table(house.write_answers(tmp_path / "a.parquet", rows))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    found = list(read_batches(tmp_path / "a.parquet", COLUMNS, rows=40))
    assert [len(batch) for batch in found] == [34, 34, 32] and [batch.start for batch in found] == [0, 34, 68]
    assert [one for batch in found for one in batch.strings("prompt_id").to_pylist()] == [r["prompt_id"] for r in rows]
    assert found[1].row(3)["prompt_id"] == rows[37]["prompt_id"]


def in_groups_of_ten(house, path):
    """Sixty rows in a file, and three of them that are wanted."""
    rows = [house.answer_row(f"Question {number}") for number in range(60)]
    pq.write_table(pq.read_table(house.write_answers(path, rows)), path, row_group_size=10)
    wanted = np.zeros(60, bool)
    wanted[[15, 21, 58]] = True
    return rows, wanted


def test_only_parts_with_wanted_rows_are_read(house, tmp_path):
    rows, wanted = in_groups_of_ten(house, tmp_path / "a.parquet")
    found = list(open_answers(tmp_path / "a.parquet", COLUMNS).batches(0, "plans", wanted=wanted))
    assert [(batch.start, len(batch)) for batch in found] == [(10, 20), (50, 10)]
    assert found[1].row(8)["prompt_id"] == rows[58]["prompt_id"]


def test_row_groups_with_wanted_rows_are_read_in_any_order(house, tmp_path):
    rows, wanted = in_groups_of_ten(house, tmp_path / "a.parquet")
    groups = list(open_answers(tmp_path / "a.parquet", COLUMNS).groups(0, "plans", wanted))
    found = [batch for group in reversed(groups) for batch in group()]
    assert [(batch.start, len(batch)) for batch in found] == [(50, 10), (20, 10), (10, 10)]
    assert found[0].row(8)["prompt_id"] == rows[58]["prompt_id"]


def test_columns_that_older_files_lack_are_null(house, tmp_path):
    table = pq.read_table(house.write_answers(tmp_path / "a.parquet", [house.answer_row("Name a river")]))
    pq.write_table(table.drop_columns(["sample", "tools"]), tmp_path / "a.parquet")
    (batch,) = read_batches(tmp_path / "a.parquet", (*COLUMNS, "tools"))
    assert batch.column("sample").to_pylist() == batch.column("tools").to_pylist() == [None]


def test_other_encodings_of_text_are_read(house, tmp_path):
    table = pq.read_table(house.write_answers(tmp_path / "a.parquet", [house.answer_row("Name a river")]))
    for name, kind in (
        ("answer", pa.large_string()),
        ("set", pa.dictionary(pa.int32(), pa.string())),
        ("sample", pa.int64()),
    ):
        column = table[name].cast(kind) if name != "set" else table[name].dictionary_encode()
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, tmp_path / "a.parquet")
    (batch,) = read_batches(tmp_path / "a.parquet", COLUMNS)
    assert batch.row(0)["answer"] == "A sound answer." and batch.column("sample").type == pa.int32()


def written(house, path, name, values):
    rows = [house.answer_row(f"Question {number}") for number in range(len(values))]
    table = pq.read_table(house.write_answers(path, rows))
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)
    return list(read_batches(path, COLUMNS))


def test_bad_values_are_told_by_file_row_and_column(house, tmp_path):
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"ok\xff\xfe"))
    cases = [
        ("answer", pa.array([1, 2]), r"a\.parquet: column answer holds int64, expected string"),
        ("calls", pa.array(["x", "y"]), r"a\.parquet: column calls holds string, expected list"),
        ("sample", pa.array([0, 2**40]), r"a\.parquet: row 1: column sample cannot be read"),
        ("prompt_id", pa.array(["0", None]), r"a\.parquet: row 1: column prompt_id is null"),
        ("messages", pa.array([None, "[]"]), r"a\.parquet: row 0: column messages is null"),
        ("answer", broken, r"a\.parquet: row 1: column answer cannot be read"),
    ]
    for name, values, told in cases:
        with pytest.raises(InputError, match=told):
            written(house, tmp_path / "a.parquet", name, values)


def test_a_null_answer_is_an_empty_one(house, tmp_path):
    (batch,) = written(house, tmp_path / "a.parquet", "answer", pa.array(["Yes.", None]))
    assert batch.strings("answer").to_pylist() == ["Yes.", ""] and batch.row(1)["answer"] == ""


def test_a_file_that_is_cut_off_is_told(house, tmp_path):
    rows = [house.answer_row(f"Question {number}", "Words and more words. " * 50) for number in range(200)]
    file = house.write_answers(tmp_path / "a.parquet", rows)
    content = bytearray(file.read_bytes())
    content[200:600] = bytes(400)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read from row 0 on"):
        list(read_batches(file, COLUMNS))
    (group,) = open_answers(file, COLUMNS).groups(0, "plans", np.ones(200, bool))
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read from row 0 on"):
        list(group())
    file.write_bytes(content[:300])
    with pytest.raises(InputError, match=r"a\.parquet: not a parquet file"):
        list(read_batches(file, COLUMNS))


def test_messages_that_are_none_are_told_by_their_row():
    texts = pa.array([json.dumps([{"role": "user", "content": "x"}]), "{}"], pa.string())
    batch = Batch(0, "plans", 40, pa.RecordBatch.from_arrays([pa.array(["a", "b"]), texts], ["prompt_id", "messages"]))
    with pytest.raises(InputError, match="row 41: prompt b"):
        batch.prompt_texts()
