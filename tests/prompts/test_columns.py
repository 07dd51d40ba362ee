"""Rows out of records: mapped columns, categories by rule, conversations left as they are, ids that nothing moves."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prompt_files import gather, put, rows

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.messages import conversation, identity_of, texts_of
from stillhouse.prompts.paths import lookup, without
from stillhouse.provenance.digests import canonical_json, digest_json, prompt_id

NESTED = {"data": {"question": "Why?", "topic": {"name": "rain"}}, "uid": 7, "key": {"answer": 42}, "more": [1]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Genf", "day": None}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
AGENTIC = [
    {"role": "system", "content": "Use tools."},
    {"role": "user", "content": [{"type": "text", "text": "Rain?"}, {"type": "image_url", "image_url": {"url": "u"}}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": ""},
]


def one(folder: Path, entry: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return rows(put(folder, "one.jsonl", [entry]), **settings)[0]


def test_columns_are_mapped_by_dotted_paths_and_stand_once(tmp_path: Path) -> None:
    columns = {"id": "uid", "prompt": "data.question", "category": "data.topic.name", "ground_truth": "key.answer"}
    row = one(tmp_path, NESTED, columns=columns)
    assert (row["id"], row["prompt"], row["category"]) == ("7", "Why?", "rain")
    assert json.loads(row["metadata"]) == {"ground_truth": 42, "more": [1]}
    assert row["prompt_id"] == prompt_id([{"role": "user", "content": "Why?"}]), "the columns' names are no part of it"


def test_an_own_column_that_the_study_maps_elsewhere_is_metadata(tmp_path: Path) -> None:
    row = one(tmp_path, {"prompt": "x", "category": "old", "label": "new"}, columns={"category": "label"})
    assert row["category"] == "new" and row["metadata"] == '{"category":"old"}'
    row = one(tmp_path, {"id": "a", "question": "x", "prompt": "y"}, columns={"prompt": "question", "id": "id"})
    assert (row["id"], row["prompt"], row["metadata"]) == ("a", "x", '{"prompt":"y"}')


def test_paths_lead_through_lists_and_a_name_with_dots_comes_first() -> None:
    assert lookup({"turns": [{"value": "a"}, {"value": "b"}]}, "turns.1.value") == "b"
    assert lookup({"turns": [{"value": "a"}]}, "turns.-1.value") == "a"
    assert lookup({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    for path in ("a.b.c", "turns.5", "turns.x", "none"):
        assert lookup({"a": {"b": 2}, "turns": [1]}, path) is None
    entry = {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    assert without(entry, "a.b.c") == {"a": {"d": 2}, "e": 3}
    assert without(entry, "e") == {"a": entry["a"]} and without(entry, "x.y") == entry
    assert entry == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}, "the record itself stays"


def test_a_mapped_prompt_counts_more_than_a_column_called_messages(tmp_path: Path) -> None:
    row = one(
        tmp_path, {"question": "Why?", "messages": [{"role": "user", "content": "x"}]}, columns={"prompt": "question"}
    )
    assert row["prompt"] == "Why?" and json.loads(row["metadata"])["messages"]


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_columns_of_tables(tmp_path: Path, name: str) -> None:
    file = put(tmp_path, name, [{"q": "Why?", "topic": "rain", "level": "3"}])
    row = rows(file, columns={"prompt": "q", "category": "topic", "difficulty": "level"})[0]
    assert (row["prompt"], row["category"], row["difficulty"], row["metadata"]) == ("Why?", "rain", "3", "{}")


RULES = [
    {"category": "weather", "pattern": "(?i)rain|snow"},
    {"category": "sums", "field": "meta.kind", "equals": 3},
    {"category": "flagged", "field": "flag", "equals": True, "override": True},
]


@pytest.mark.parametrize(
    ("entry", "category"),
    [
        ({"prompt": "Will it RAIN?"}, "weather"),
        ({"prompt": "Will it rain?", "meta": {"kind": 3}}, "weather"),
        ({"prompt": "2 + 2?", "meta": {"kind": 3}}, "sums"),
        ({"prompt": "2 + 2?", "meta": {"kind": "3"}}, "sums"),
        ({"prompt": "2 + 2?", "meta": {"kind": True}}, None),
        ({"prompt": "2 + 2?", "meta": 3}, None),
        ({"prompt": "Will it rain?", "category": "own"}, "own"),
        ({"prompt": "Will it rain?", "category": ""}, "weather"),
        ({"prompt": "x", "category": "own", "flag": True}, "flagged"),
        ({"prompt": "x", "category": "own", "flag": "true"}, "flagged"),
        ({"prompt": "x", "flag": 1}, None),
        ({"messages": [{"role": "system", "content": "Snow."}, {"role": "user", "content": "x"}]}, "weather"),
    ],
    ids=range(12),
)
def test_the_first_rule_that_fits_gives_a_category(tmp_path: Path, entry: dict[str, Any], category: str | None) -> None:
    assert one(tmp_path, entry, rules=RULES)["category"] == category


def test_rules_change_no_id_and_decide_what_a_set_takes(tmp_path: Path) -> None:
    file = put(tmp_path, "x.jsonl", [{"prompt": "Rain?"}, {"prompt": "Sun?"}])
    found, _ = gather(file, rules=RULES, categories=["weather"])
    assert found.kept["prompt"].to_pylist() == ["Rain?"] and found.other_categories == 1
    assert {row["prompt_id"] for row in rows(file)} == {row["prompt_id"] for row in rows(file, rules=RULES)}


def test_a_conversation_with_tools_is_left_as_it_is(tmp_path: Path) -> None:
    row = one(tmp_path, {"id": "a", "messages": AGENTIC, "tools": TOOLS, "source": "x"})
    assert json.loads(row["messages"]) == AGENTIC and json.loads(row["tools"]) == TOOLS
    assert row["prompt"] == "Rain?" and row["metadata"] == '{"source":"x"}'
    assert row["prompt_id"] == digest_json({"messages": AGENTIC, "tools": TOOLS})[:16]
    assert one(tmp_path, {"messages": AGENTIC})["prompt_id"] == prompt_id(AGENTIC) != row["prompt_id"]


def test_plain_prompts_keep_the_id_that_they_always_had(tmp_path: Path) -> None:
    """Digests of 2026-11, before there were tools: a change would pay for every answer again."""
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Zwölf?"}]
    assert one(tmp_path, {"prompt": " Hello? "})["prompt_id"] == "91ca2fa7c56073f4"
    assert one(tmp_path, {"messages": chat})["prompt_id"] == "7fe9b96fdf644fb7"
    assert one(tmp_path, {"messages": chat, "tools": []})["prompt_id"] == prompt_id(chat)
    nulls = [{**turn, "tool_calls": None, "name": None} for turn in chat]
    assert one(tmp_path, {"messages": nulls, "tools": None})["prompt_id"] == prompt_id(chat)
    assert identity_of(canonical_json(chat), None) == prompt_id(chat)


def test_a_conversation_has_one_id_in_json_csv_and_parquet(tmp_path: Path) -> None:
    """Columns of objects give every turn the keys of all; what has no value there was not in the conversation."""
    entry = {"messages": AGENTIC, "tools": TOOLS}
    call = {**CALL, "function": {"name": "weather", "arguments": {"city": "Genf"}}}
    entry["messages"] = [*AGENTIC[:2], {**AGENTIC[2], "tool_calls": [call]}, AGENTIC[3]]
    entry["messages"][1] = {"role": "user", "content": "Rain?"}
    expected = one(tmp_path, entry)["prompt_id"]
    pq.write_table(pa.Table.from_pylist([entry]), tmp_path / "x.parquet")
    assert rows(tmp_path / "x.parquet")[0]["prompt_id"] == expected
    text = {key: json.dumps(value) for key, value in entry.items()}
    for name in ("x.csv", "y.parquet", "z.jsonl"):
        assert rows(put(tmp_path, name, [text]))[0]["prompt_id"] == expected


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "user", "content": []},
        {"role": "user", "content": ["text"]},
        {"role": "user", "content": None},
        {"role": "user", "content": {"text": "x"}},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": None},
        {"role": "function", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"content": "x"},
    ],
    ids=range(10),
)
def test_turns_that_say_nothing_are_refused(turn: dict[str, Any]) -> None:
    with pytest.raises(Flaw) as caught:
        conversation(None, [{"role": "user", "content": "x"}, turn])
    assert caught.value.reason == "bad_messages"


def test_texts_of_a_turn_are_what_was_said_and_handed_over_and_no_names() -> None:
    assert [texts_of(turn) for turn in AGENTIC] == [["Use tools."], ["Rain?", "u"], ["Genf"], [""]]


def test_patterns_take_down_what_stands_in_parts_and_in_calls(tmp_path: Path) -> None:
    file = put(tmp_path, "x.jsonl", [{"id": "a", "messages": AGENTIC}, {"id": "b", "prompt": "x"}])
    for pattern in ("^Rain", "Genf"):
        assert gather(file, exclude={"patterns": [pattern]})[0].excluded["id"].to_pylist() == ["a"]


def test_an_own_parquet_file_is_a_source_like_any_other(tmp_path: Path) -> None:
    first = rows(put(tmp_path, "a.jsonl", [{"id": "a", "messages": AGENTIC, "tools": TOOLS}]))
    again = rows(put(tmp_path, "b.parquet", first))
    keys = ("prompt_id", "id", "prompt", "messages", "tools")
    assert [again[0][key] for key in keys] == [first[0][key] for key in keys]


def test_an_answer_may_be_no_number_but_not_the_rest(tmp_path: Path) -> None:
    """Answers of recorded files are left aside, yet the line has to be JSON."""
    file = put(tmp_path, "x.jsonl", b'{"prompt": "x", "response": NaN}\n')
    with pytest.raises(InputError, match="NaN is not a JSON value"):
        gather(file, recorded=True)


def test_numbers_are_taken_as_text(tmp_path: Path) -> None:
    row = one(tmp_path, {"prompt": "x", "id": 1.5, "difficulty": 0.7, "category": 3})
    assert (row["id"], row["difficulty"], row["category"]) == ("1.5", "0.7", "3")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"category": ""}, {}),
        ({"difficulty": ""}, {}),
        ({"category": "a\x1fb"}, {"category": "a", "difficulty": "b\x1f"}),
    ],
)
def test_which_copy_stays_does_not_hang_on_the_order_of_rows(tmp_path: Path, first: Any, second: Any) -> None:
    both = [{"prompt": "Hello?", **first}, {"prompt": "Hello?", **second}]
    found = [gather(put(tmp_path, "x.jsonl", part), bad_rows="reject") for part in (both, both[::-1])]
    kept = [one[0].kept.to_pylist() for one in found]
    assert kept[0] == kept[1] and len(kept[0]) == 1
    assert [one[1][0]["reason"] for one in found] == ["duplicate_prompt"] * 2
