"""What each format makes of a row, held against golden files, and rows that give nothing."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format_rows import (
    AGENT,
    CALLER,
    DEFENDED,
    PLAIN,
    REVISED,
    ROWS,
    TALK,
    WIRE,
    answered,
    contest,
    context_of,
    examples_of,
    golden,
    pretty,
    said,
    user,
    with_votes,
    write_split,
)  # fmt: skip
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.batches import Batch
from stillhouse.datasets.examples import table_of
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.messages import PLAIN as MESSAGES
from stillhouse.datasets.messages import all_plain, decoded, parse, parse_plain, read_examples, tool_call
from stillhouse.errors import InputError
from stillhouse.provenance.digests import canonical_json


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_golden_rows_of_each_format(form: str, tmp_path: Path) -> None:
    examples = examples_of(form)
    file = write_split(tmp_path / "train.parquet", form, examples)
    read = list(read_examples(file))
    assert read == [{name: one[name] for name in FORMATS[form].schema().names} for one in examples]
    golden(f"{form}.json", pretty(read))


def test_golden_rows_with_tools(tmp_path: Path) -> None:
    file = write_split(tmp_path / "train.parquet", "sft", examples_of("sft", (PLAIN, AGENT)), rich=True)
    read = list(read_examples(file))
    golden("sft-tools.json", pretty(read))
    assert read[1]["prompt"][1]["tool_calls"][0]["function"]["arguments"] == {"month": "May", "place": "Bern"}
    assert read[0]["prompt"] == [user("Should the bakery move?")], "a plain message has no further keys"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_row_says_where_it_comes_from(form: str) -> None:
    names = FORMATS[form].schema().names
    assert names[-8:] == ["prompt_id", "set", "id", "category", "generation", "sample", "copy", "calls"]
    assert FORMATS[form].schema(rich=True).names == names
    assert set(FORMATS[form].columns) <= set(PLAIN)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_what_was_considered_is_kept_or_counted(form: str) -> None:
    for row in (*ROWS, AGENT, CALLER):
        made = FORMATS[form].examples(row, context_of(form))
        assert made.considered == len(made.examples) + sum(made.dropped.values())


# reasoning


def test_only_the_teachers_own_reasoning_is_taught() -> None:
    kept = {one["id"]: one["completion"][0]["content"] for one in examples_of("reasoning")}
    assert kept == {
        "plain": "<think>\nRents fell in May.\n</think>\n\nWait a year:\n\nrents fall.",
        "defended": "<think>\nThe joint is the weak part.\n</think>\n\nClose one lane first.",
    }
    made = FORMATS["reasoning"].examples(REVISED, context_of("reasoning"))
    assert made.examples == [] and made.dropped == {"not_the_teachers": 1}


def test_reasoning_is_not_the_teachers_where_a_later_round_kept_anothers_text() -> None:
    borda = {"A": 1, "B": 6, "AB": 2}
    rounds = [
        contest(1, "B", borda, {"A": "Old.", "B": "New.", "AB": "Third."}),
        contest(2, "A", {**borda, "A": 7}, {"A": "New.", "B": "Newer.", "AB": "Both."}),
    ]
    row = answered("kept", [user("Why?")], "New.", rounds, reasoning="The critique says so.")
    assert FORMATS["reasoning"].examples(row, context_of("reasoning")).dropped == {"not_the_teachers": 1}


def test_an_author_that_wrote_the_draft_again_is_not_the_teacher() -> None:
    borda = {"A": 1, "B": 6, "AB": 2}
    again = contest(1, "B", borda, {"A": "Same.", "B": "Other.", "AB": "Third."})
    back = contest(2, "B", borda, {"A": "Other.", "B": "Same.", "AB": "Third."})
    row = answered("again", [user("Why?")], "Same.", [again, back], draft="Same.", reasoning="The critique says so.")
    assert FORMATS["reasoning"].examples(row, context_of("reasoning")).examples == []


@pytest.mark.parametrize(
    ("reasoning", "reason"),
    [(None, "no_reasoning"), ("  \n", "no_reasoning"), ("So: </think> no", "think_tag"), ("<think>x", "think_tag")],
)
def test_reasoning_that_cannot_be_taught(reasoning: str | None, reason: str) -> None:
    row = {**PLAIN, "reasoning": reasoning}
    made = FORMATS["reasoning"].examples(row, context_of("reasoning"))
    assert made.examples == [] and made.dropped == {reason: 1} and made.considered == 1


# sft


@pytest.mark.parametrize("tools", ["[]", "null", "", " [ ]\n"])
def test_an_empty_list_of_tools_is_none(tools: str) -> None:
    (example,) = examples_of("sft", [{**PLAIN, "tools": tools}])
    assert example["tools"] is None


@pytest.mark.parametrize("tools", ["{}x", "3", '{"a": 1}', '["rainfall"]'])
def test_tools_that_are_none_are_an_error_that_names_the_prompt(tools: str) -> None:
    with pytest.raises(InputError, match=rf"prompt {PLAIN['prompt_id']}: `tools` is no JSON list"):
        FORMATS["sft"].examples({**PLAIN, "tools": tools}, context_of("sft"))


@pytest.mark.parametrize("messages", ["", "{}", "[]", '["x"]', '[{"content": "x"}]', '[{"role": 1, "content": "x"}]'])
def test_messages_that_are_none_are_an_error_that_names_the_prompt(messages: str) -> None:
    row = {**PLAIN, "messages": messages}
    with pytest.raises(InputError, match=rf"prompt {PLAIN['prompt_id']}: `messages` is no"):
        FORMATS["sft"].examples(row, context_of("sft"))


def batch_of(rows: list[dict[str, Any]]) -> Batch:
    kinds = {"messages": pa.string(), "answer": pa.string(), "tools": pa.string()}
    arrays = [pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()]
    return Batch(0, "plans", 0, pa.RecordBatch.from_arrays(arrays, list(kinds)))


def test_many_rows_at_once_are_what_single_rows_are() -> None:
    import numpy as np

    odd = answered("odd", [user('"},{"content": "x\n\t\\ \u2028 \U0001f642'), said("")], " \u00e9\n")
    rows = [PLAIN, TALK, REVISED, odd]
    places = np.array([3, 0, 1])
    table = FORMATS["sft"].table(batch_of(rows), places)
    single = [FORMATS["sft"].examples(rows[place], context_of("sft")).examples[0] for place in places]
    assert pa.table(table).to_pylist() == single
    assert pa.table(table).schema == pa.schema(list(FORMATS["sft"].schema())[:3])


def test_rows_that_hold_more_than_texts_are_not_made_at_once() -> None:
    import numpy as np

    table = FORMATS["sft"].table
    assert table(batch_of([PLAIN, AGENT]), np.array([0, 1])) is None
    with_tools = {**PLAIN, "tools": AGENT["tools"]}
    assert table(batch_of([PLAIN, with_tools]), np.array([1])) is None
    assert table(batch_of([PLAIN]), np.array([], np.int64))["prompt"].to_pylist() == []


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        ({"role": "user", "content": "x"}, True),
        ({"role": "user", "content": 'a","name":"b'}, True),
        ({"role": "user", "content": None}, False),
        ({"role": "user", "content": "x", "name": "y"}, False),
        ({"role": "user", "content": "x", "name": None}, False),
        ({"role": "user"}, False),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, False),
    ],
)
def test_which_messages_are_plain(message: dict, plain: bool) -> None:
    texts = pa.array([json.dumps([user("before")]), json.dumps([user("x"), message])])
    assert all_plain(texts) is plain
    if not plain:
        assert parse_plain(texts) is None


MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "assistant"]), "content": st.text()})
EDGY = st.lists(
    st.sampled_from(['"', "\\\\", "\\n", "\\x00", '","role":"user"}]', '[{"content":"', "a", "\\u65e5", "}", " "])
)
CHAT = st.lists(MESSAGE, min_size=1, max_size=3) | EDGY.map(lambda parts: [user("".join(parts))])


@given(st.lists(CHAT, max_size=6), st.booleans())
def test_prompts_parsed_together_are_those_parsed_alone(chats: list[list[dict]], spaced: bool) -> None:
    texts = [json.dumps(one) if spaced else canonical_json(one) for one in chats]
    together = parse_plain(pa.array(texts, pa.string()))
    assert together is not None and together.to_pylist() == [parse(text) for text in texts] == chats
    assert together.type == MESSAGES


@pytest.mark.parametrize("text", ['[{"content":"a"b","role":"user"}]', '[{"content":"","role":"user"}', '"role":"user"}]',
                                  '[{"content":"a\nb","role":"user"}]', '[{"content":"\\","role":"user"}]'])  # fmt: skip
def test_prompts_that_only_look_like_one_turn(text: str) -> None:
    assert parse_plain(pa.array([text, canonical_json([user("x")])])) is None
    with pytest.raises(InputError):
        parse(text)


@pytest.mark.parametrize(("text", "told"), [("[]", "no list"), ('[{"role":"user","content":"\\ud800"}]', "surrogate")])
def test_conversations_that_cannot_be_written(text: str, told: str) -> None:
    texts = pa.array([canonical_json([user("x")]), text])
    assert parse_plain(texts) is None
    with pytest.raises(InputError, match=told):
        all_plain(texts)


# critic


def tasks(row: dict, task: str = "both") -> list[tuple[int, str, str]]:
    made = FORMATS["critic"].examples(row, context_of("critic", critic={"task": task}))
    return [(one["round"], one["task"], one["completion"][0]["content"]) for one in made.examples]


def test_a_critique_is_taught_where_it_helped_or_found_nothing() -> None:
    assert tasks(REVISED) == [
        (1, "critique", "Too vague."), (1, "revise", "Hire two teachers."),
        (2, "critique", "No date is given."), (2, "revise", "Hire two teachers before September."),
    ]  # fmt: skip
    assert tasks(REVISED, "revise") == [one for one in tasks(REVISED) if one[1] == "revise"]
    assert tasks(DEFENDED) == [(2, "critique", "NO FLAWS")]
    made = FORMATS["critic"].examples(DEFENDED, context_of("critic"))
    assert made.dropped == {"revision_lost": 2} and made.considered == 3


def test_the_critic_sees_the_conversation_and_the_incumbent() -> None:
    first, second = examples_of("critic", [REVISED])[2:]
    assert [one["role"] for one in first["prompt"]] == ["user", "assistant", "user"]
    assert first["prompt"][1] == said("Hire two teachers.") and "NO FLAWS" in first["prompt"][2]["content"]
    assert second["prompt"][2]["content"].endswith("Critique:\nNo date is given.")


@pytest.mark.parametrize(
    ("texts", "critique", "reason"),
    [
        ({"A": "One.", "B": " One. ", "AB": "x"}, "Weak.", "same_text"),
        ({"A": "One.", "B": "Two.", "AB": "x"}, "  ", "empty_side"),
        ({"A": "One.", "B": "<think>Two.", "AB": "x"}, "Weak.", "think_tag"),
        ({"A": "One.", "B": "Two.", "AB": "x"}, "</think> Weak.", "think_tag"),
    ],
)
def test_triples_that_cannot_be_taught(texts: dict[str, str], critique: str, reason: str) -> None:
    row = answered("odd", [user("Why?")], "Two.", [contest(1, "B", {"A": 0, "B": 5, "AB": 1}, texts, critique)])
    made = FORMATS["critic"].examples(row, context_of("critic"))
    assert made.examples == [] and made.dropped == {reason: 2}


def rounds_that_agree(*texts: tuple[str, str, str], no_flaws: str | None = None) -> dict:
    borda = {"A": 0, "B": 5, "AB": 1}
    rounds = [
        contest(number, "B", borda, {"A": a, "B": b, "AB": "x"}, c) for number, (a, c, b) in enumerate(texts, start=1)
    ]
    rounds += [contest(9 + n, "A", {}, {"A": "Good."}, no_flaws) for n in range(2) if no_flaws]
    return answered("again", [user("Why?")], "Good.", rounds)


def test_a_triple_is_taught_once() -> None:
    row = rounds_that_agree(("One.", "Weak.", "Two."), ("One.", "Weak. ", "Two."), ("One.", "Vague.", "Two."))
    made = FORMATS["critic"].examples(row, context_of("critic"))
    assert [one["round"] for one in made.examples] == [1, 1, 3, 3]
    assert made.dropped == {"duplicate_triple": 2} and made.considered == 6


def test_no_flaws_is_taught_in_one_spelling() -> None:
    made = FORMATS["critic"].examples(rounds_that_agree(no_flaws="**No flaws.**"), context_of("critic"))
    assert [one["completion"] for one in made.examples] == [[said("NO FLAWS")]]
    assert made.dropped == {"duplicate_triple": 1}


def test_a_round_that_the_panel_did_not_decide_teaches_no_critique() -> None:
    kept = contest(1, "A", {"A": 2, "B": 1, "AB": 0}, {"A": "One.", "B": "Two.", "AB": "x"})
    row = answered("unread", [user("Why?")], "One.", [with_votes(kept, ["A", "B", "AB"], None)])
    assert FORMATS["critic"].examples(row, context_of("critic")).dropped == {"unread": 2}
    row = answered("read", [user("Why?")], "One.", [with_votes(kept, ["A", "B", "AB"])])
    assert FORMATS["critic"].examples(row, context_of("critic")).dropped == {"revision_lost": 2}


def test_a_revision_is_held_against_the_filters() -> None:
    row = rounds_that_agree(("One.", "Weak.", "As an AI, I cannot."), ("As an AI, I cannot.", "Says nothing.", "Good."))
    made = FORMATS["critic"].examples(row, context_of("critic", filters=[{"no_refusals": True}]))
    assert [(one["round"], one["task"]) for one in made.examples] == [(1, "critique"), (2, "critique"), (2, "revise")]
    assert made.dropped == {"revision_filtered": 1}


@pytest.mark.parametrize("side", ["draft", "critique", "revision"])
def test_calls_of_tools_are_no_text_to_criticise(side: str) -> None:
    texts = {"draft": "One.", "critique": "Weak.", "revision": "Two.", side: WIRE}
    row = rounds_that_agree((texts["draft"], texts["critique"], texts["revision"]))
    assert FORMATS["critic"].examples(row, context_of("critic")).dropped == {"tool_call": 2}


# answers that call tools


def test_an_answer_that_calls_tools_is_taught_as_the_call(tmp_path: Path) -> None:
    file = write_split(tmp_path / "train.parquet", "sft", examples_of("sft", (PLAIN, CALLER)), rich=True)
    plain, caller = (row["completion"] for row in read_examples(file))
    call = {"id": "c1", "type": "function", "function": {"name": "rainfall", "arguments": {"month": "May"}}}
    assert caller == [{"role": "assistant", "content": None, "tool_calls": [call]}]
    assert plain == [said("Wait a year:\n\nrents fall.")]


def test_reasoning_before_a_call_of_tools_is_not_taught() -> None:
    made = FORMATS["reasoning"].examples({**CALLER, "reasoning": "Hm."}, context_of("reasoning"))
    assert made.examples == [] and made.dropped == {"tool_call": 1}


def test_batches_tell_of_their_calls() -> None:
    import numpy as np

    sft, told = FORMATS["sft"], batch_of([PLAIN, {**PLAIN, "answer": f"\n{WIRE}"}, TALK])
    assert sft.calls(told) and not sft.calls(batch_of([PLAIN, TALK])) and not FORMATS["critic"].calls(told)
    assert sft.table(told, np.array([1])) is None and sft.table(told, np.array([0, 2])) is not None


CALL_OF = {"function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("answer", "called"),
    [
        ({"tool_calls": [CALL_OF]}, True),
        ({"content": "Let me see.", "tool_calls": [CALL_OF]}, True),
        ({"tool_calls": [CALL_OF], "model": "an example of a reply"}, False),
        ({"tool_calls": []}, False),
        ({"tool_calls": [{}]}, False),
        ({"tool_calls": {"function": {"name": "f"}}}, False),
        ({"tool_calls": [{"function": {"name": 3}}]}, False),
        ({"content": 3, "tool_calls": [CALL_OF]}, False),
        ([{"tool_calls": [CALL_OF]}], False),
    ],
)
def test_which_answers_call_tools(answer: Any, called: bool) -> None:
    for text in (json.dumps(answer), f"  {json.dumps(answer, indent=1)}\n"):
        assert (tool_call(text) is not None) is called
        assert FORMATS["sft"].calls(batch_of([{**PLAIN, "answer": text}])) is called
    assert tool_call(json.dumps(answer)[:-1]) is None and tool_call(f"So: {json.dumps(answer)}") is None


def test_calls_that_cannot_be_written_stay_text() -> None:
    for odd in (
        '{"tool_calls":[{"function":{"name":"\\ud800"}}]}',
        '{"tool_calls":[{"function":{"name":"f","at":NaN}}]}',
    ):
        assert tool_call(odd) is None


@pytest.mark.parametrize("arguments", ["3", "{", None, {"a": 1}, "[1]", '{"a": NaN}', '{"a": "\\udfff"}'])
def test_arguments_that_are_no_text_of_an_object_stay(arguments: Any) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    assert tool_call(json.dumps({"tool_calls": [call]}))["tool_calls"] == [call]


@pytest.mark.parametrize(
    "transcript",
    ["no json", "[]", '{"rounds": [{}]}', '{"rounds": 3}', '{"rounds": ["x"]}',
     '{"rounds": [{"round": 1, "critique": null, "no_flaws": false, "candidates": {"A": "x"}, "borda": {}, "winner": "A"}]}',
     '{"rounds": [{"round": 1, "critique": "", "no_flaws": true, "candidates": {"A": "x"}, "borda": {}, "winner": "B"}]}',
     '{"rounds": [{"round": 1, "critique": "", "no_flaws": true, "candidates": {"A": "x"}, "borda": {}, "winner": "A", "votes": [3]}]}'],
)  # fmt: skip
@pytest.mark.parametrize("form", ["critic", "preference"])
def test_a_damaged_transcript_is_an_error_that_names_the_prompt(transcript: str, form: str) -> None:
    with pytest.raises(InputError, match=rf"prompt {PLAIN['prompt_id']}: its transcript"):
        FORMATS[form].examples({**PLAIN, "transcript": transcript}, context_of(form))


def test_reading_back_tells_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such parquet file"):
        list(read_examples(tmp_path / "none.parquet"))
    (tmp_path / "bad.parquet").write_text("PAR1 no")
    with pytest.raises(InputError, match="not a parquet file"):
        list(read_examples(tmp_path / "bad.parquet"))


def test_a_table_of_no_rows_has_every_column(tmp_path: Path) -> None:
    for rich in (False, True):
        table = table_of([], FORMATS["preference"].schema(rich))
        pq.write_table(table, tmp_path / "empty.parquet")
        assert pq.read_table(tmp_path / "empty.parquet").schema == table.schema
        assert decoded(table) == []
