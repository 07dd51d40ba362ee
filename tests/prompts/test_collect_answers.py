"""Answers that exist already: rows of any kind of file become samples of their prompts, and the books add up."""

import gzip
import importlib.util
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_files import as_bytes, put

from stillhouse.errors import InputError
from stillhouse.prompts.answered import ANSWERS
from stillhouse.prompts.collect import CollectSettings, collect
from stillhouse.prompts.fetch import REJECTED_SCHEMA
from stillhouse.provenance.digests import canonical_json, prompt_id
from stillhouse.provenance.job import Files, Params
from stillhouse.tournament.columns import ANSWERS as OF_GENERATIONS

SCRIPT = Path(__file__).parents[2] / "scripts/collect_answers.py"
Row = dict[str, Any]
BAKERY, HARBOUR = "Shall we open a bakery?", "Shall we close the harbour?"
ROWS = [
    {"id": "a", "category": "plan", "prompt": BAKERY, "response": "Hold."},
    {"id": "b", "category": "plan", "prompt": BAKERY, "response": "Proceed."},
    {"id": "c", "category": "audit", "prompt": HARBOUR, "response": "Rework it."},
    {"id": "d", "category": "plan", "prompt": BAKERY, "response": "Hold."},
]
COUNTS = ("answers", "excluded", "over_limit", "not_sampled", "other_categories", "repeated", "rejected")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect_answers", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, sources: Path | list[Path], **recipe: Any) -> Row:
    """Facts of the rule over some files; the books add up, and every rejected row is listed."""
    made = {"answers": folder / "out/answers.parquet", "rejected": folder / "out/rejected.parquet"}
    recipe = {"set": "own", "answers": True, **recipe}
    params = Params("collect_answers", {}, recipe, {}, "key", 1, {}, {})
    given = sources if isinstance(sources, list) else [sources]
    facts = script().main(Files({"source": given}), Files(made), params)
    assert facts["lines"] == sum(facts[key] for key in COUNTS)
    assert facts["answers"] == pq.read_metadata(made["answers"]).num_rows
    assert facts["rejected"] == pq.read_metadata(made["rejected"]).num_rows == sum(facts["reasons"].values())
    return facts


def rows(folder: Path, sources: Path | list[Path], **recipe: Any) -> list[Row]:
    run(folder, sources, **recipe)
    return pq.read_table(folder / "out/answers.parquet").to_pylist()


def one(folder: Path, row: Row, **recipe: Any) -> Row:
    (found,) = rows(folder, put(folder, "a.jsonl", [row]), **recipe)
    return found


def refused(folder: Path, content: bytes | list[Row], **recipe: Any) -> str:
    with pytest.raises(InputError) as caught:
        run(folder, put(folder, "a.jsonl", content), **recipe)
    return str(caught.value)


def test_the_table_is_that_of_a_generation() -> None:
    assert ANSWERS.equals(OF_GENERATIONS)


def test_rows_with_one_prompt_are_its_samples_and_equal_ones_are_one(tmp_path: Path) -> None:
    facts = run(tmp_path, put(tmp_path, "a.jsonl", ROWS))
    assert (facts["lines"], facts["answers"], facts["repeated"]) == (4, 3, 1)
    table = pq.read_table(tmp_path / "out/answers.parquet")
    assert table.schema.equals(ANSWERS)
    found = table.to_pylist()
    assert found == sorted(found, key=lambda row: (row["prompt_id"], row["sample"]))
    told = {(row["prompt"], row["sample"]): row["answer"] for row in found}
    assert told.keys() == {(BAKERY, 0), (BAKERY, 1), (HARBOUR, 0)}
    assert {told[BAKERY, 0], told[BAKERY, 1]} == {"Hold.", "Proceed."}


def test_a_row_says_that_no_model_was_asked(tmp_path: Path) -> None:
    row = one(tmp_path, {**ROWS[0], "domain": "food", "difficulty": 3, "tools": [{"name": "till"}]})
    messages = [{"role": "user", "content": BAKERY}]
    assert row == {
        "prompt_id": row["prompt_id"], "set": "own", "id": "a", "category": "plan", "difficulty": "3", "prompt": BAKERY,
        "messages": canonical_json(messages), "metadata": '{"domain":"food"}', "generation": "own", "method": "recorded",
        "model": None, "answer": "Hold.", "reasoning": None, "draft": "Hold.", "truncated": False, "converged": None,
        "rounds": 0, "winners": [], "transcript": '{"rounds":[]}', "calls": [], "answer_call": None, "sample": 0,
        "tools": '[{"name":"till"}]', "context": None,
    }  # fmt: skip


def test_a_prompt_is_known_as_in_prompt_sets(tmp_path: Path) -> None:
    row = one(tmp_path, {"prompt": BAKERY, "response": "Hold."})
    assert row["prompt_id"] == row["id"] == prompt_id([{"role": "user", "content": BAKERY}])


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_bytes_depend_on_neither_the_order_of_rows_nor_of_files(tmp_path_factory: Any, dice: random.Random) -> None:
    entries = [{"prompt": f"Question {n % 7}?", "response": f"Answer {n % 12}."} for n in range(40)]
    made = []
    for _ in range(2):
        dice.shuffle(entries)
        folder, cut = tmp_path_factory.mktemp("shuffled"), dice.randrange(1, 39)
        files = [put(folder, "x.jsonl", entries[:cut]), put(folder, "y.jsonl", entries[cut:])]
        facts = run(folder, files, sample={"size": 20}, limit=15)
        made.append((folder / "out/answers.parquet").read_bytes())
        assert (facts["answers"], facts["over_limit"]) == (15, 5)
    assert made[0] == made[1]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str, packed: bool) -> None:
    content = as_bytes(ROWS, ending)
    file = put(tmp_path, f"a.{ending}{'.gz' if packed else ''}", gzip.compress(content) if packed else content)
    assert rows(tmp_path, file) == rows(tmp_path, put(tmp_path, "same.jsonl", ROWS))


# prompts, responses and reasoning


def test_a_conversation_ends_with_the_response(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": BAKERY}]
    talk = [*turns, {"role": "assistant", "content": "Why?"}, {"role": "user", "content": "For bread."}]
    row = one(tmp_path, {"messages": [*talk, {"role": "assistant", "content": "Hold.", "reasoning_content": "Rent."}]})
    assert json.loads(row["messages"]) == talk
    assert (row["prompt"], row["answer"], row["reasoning"]) == ("For bread.", "Hold.", "Rent.")
    assert row["prompt_id"] == prompt_id(talk)
    apart = one(tmp_path, {"messages": talk, "response": "Hold.", "reasoning": "Rent."})
    assert {**apart, "metadata": None} == {**row, "metadata": None}


def test_the_last_turn_may_hold_parts_and_the_response_may_say_the_same(tmp_path: Path) -> None:
    parts = {"role": "assistant", "content": [{"type": "text", "text": "Hold"}, {"type": "text", "text": "on."}]}
    row = one(tmp_path, {"messages": [{"role": "user", "content": BAKERY}, parts], "response": " Hold\non. "})
    assert row["answer"] == "Hold\non."


@pytest.mark.parametrize(
    ("given", "answer", "reasoning"),
    [
        ({"response": "<think>Rent.</think>\n\nHold."}, "Hold.", "Rent."),
        ({"response": "Rent.</think>Hold."}, "Hold.", "Rent."),
        ({"response": "Hold.", "reasoning": " Rent. "}, "Hold.", "Rent."),
        ({"response": "Hold.", "reasoning": "<think>Rent.</think>"}, "Hold.", "Rent."),
        ({"response": "<think>Rent.</think>Hold.", "reasoning": "Rent."}, "Hold.", "Rent."),
        ({"response": "<think>Flour.</think>Hold.", "reasoning": "Rent."}, "Hold.", "Rent.\nFlour."),
        ({"response": " Hold. ", "reasoning": ""}, "Hold.", None),
    ],
)
def test_reasoning_and_answer_are_taken_apart(tmp_path: Path, given: Row, answer: str, reasoning: str | None) -> None:
    row = one(tmp_path, {"prompt": BAKERY, **given})
    assert (row["answer"], row["reasoning"], row["metadata"]) == (answer, reasoning, "{}")


def test_one_answer_thought_out_in_two_ways_is_two_samples(tmp_path: Path) -> None:
    thoughts = [{"prompt": BAKERY, "response": "Hold.", "reasoning": text} for text in ("Rent.", "Flour.")]
    assert {row["reasoning"] for row in rows(tmp_path, put(tmp_path, "a.jsonl", thoughts))} == {"Rent.", "Flour."}


def test_columns_and_categories_by_the_study(tmp_path: Path) -> None:
    source = {"q": {"text": BAKERY}, "turns": [{"v": "?"}, {"v": "Hold."}], "why": "Rent.", "response": "Not this one."}
    columns = {"prompt": "q.text", "response": "turns.1.v", "reasoning": "why"}
    row = one(tmp_path, source, columns=columns, rules=[{"category": "food", "pattern": "bakery"}])
    assert (row["prompt"], row["answer"], row["reasoning"], row["category"]) == (BAKERY, "Hold.", "Rent.", "food")
    assert json.loads(row["metadata"]) == {"turns": source["turns"], "response": "Not this one."}


# what cannot be used

FLAWED = {
    "no response": ({"prompt": BAKERY}, "no_response", '"response" is empty or missing'),
    "blank": ({"prompt": BAKERY, "response": " \n"}, "no_response", '"response" is empty'),
    "null": ({"prompt": BAKERY, "response": None}, "no_response", '"response" is empty'),
    "no text": ({"prompt": BAKERY, "response": ["Hold."]}, "no_response", "found list"),
    "thoughts alone": ({"prompt": BAKERY, "response": "<think>Rent.</think>"}, "no_response", "without its reasoning"),
    "no prompt": ({"response": "Hold."}, "no_prompt", '"prompt" is empty'),
    "an answer to nothing": ({"messages": [{"role": "assistant", "content": "x"}]}, "bad_messages", "one user turn"),
    "an open question": ({"messages": [{"role": "user", "content": "x"}]}, "no_response", '"response" is empty'),
    "two answers": ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "response": "z"}, "bad_messages", "`response` is another one"),
    "a call of a tool": ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "tool_calls": [{"id": "1"}]}]}, "no_response", "calls tools"),
    "odd reasoning": ({"prompt": BAKERY, "response": "Hold.", "reasoning": 3}, "wrong_type", "reasoning must be text, found 3"),
    "half a character": ({"prompt": BAKERY, "response": "Hold \ud800."}, "lone_surrogate", "surrogate"),
    "a list": ([BAKERY, "Hold."], "not_an_object", "expected an object"),
    "too long": ({"prompt": BAKERY, "response": "x" * 5 * 2**20, "reasoning": "y" * 4 * 2**20}, "too_long", "8,388,608"),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAWED)
def test_a_bad_row_is_told_or_listed(tmp_path: Path, case: str) -> None:
    entry, reason, words = FLAWED[case]
    content = as_bytes(ROWS, "jsonl") + json.dumps(entry).encode() + b"\n"
    told = refused(tmp_path, content)
    assert "a.jsonl line 5" in told
    assert words in told
    assert not list(tmp_path.glob("out/*"))
    facts = run(tmp_path, put(tmp_path, "a.jsonl", content), bad_rows="reject")
    assert (facts["answers"], facts["reasons"]) == (3, {reason: 1})
    table = pq.read_table(tmp_path / "out/rejected.parquet")
    assert table.schema.equals(REJECTED_SCHEMA)
    assert [(row["file"], row["line"], row["reason"]) for row in table.to_pylist()] == [("a.jsonl", 5, reason)]


def test_an_id_stands_for_one_prompt(tmp_path: Path) -> None:
    shared = [*ROWS, {**ROWS[2], "id": "a"}, {**ROWS[1], "id": "a", "response": "Wait."}]
    told = refused(tmp_path, shared)
    assert "a.jsonl line 5: id 'a' was in line 1 already" in told
    facts = run(tmp_path, put(tmp_path, "a.jsonl", shared), bad_rows="reject")
    assert facts["reasons"].keys() <= {"duplicate_id"}
    found = pq.read_table(tmp_path / "out/answers.parquet").to_pylist()
    assert len({row["prompt_id"] for row in found if row["id"] == "a"}) <= 1


def test_samples_of_one_prompt_may_share_an_id(tmp_path: Path) -> None:
    both = [{**row, "id": "a"} for row in ROWS[:2]]
    assert [row["id"] for row in rows(tmp_path, put(tmp_path, "a.jsonl", both))] == ["a", "a"]


def test_an_empty_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert "a.jsonl" in refused(tmp_path, b"")


# sample, limit and takedown


def test_sample_and_limit_count_answers_and_numbers_begin_at_0(tmp_path: Path) -> None:
    entries = [{"prompt": f"Question {n % 10}?", "response": f"Answer {n}."} for n in range(60)]
    file = put(tmp_path, "a.jsonl", entries)
    small, large = (rows(tmp_path, file, sample={"size": size, "seed": 3}) for size in (20, 30))
    assert {row["answer"] for row in small} < {row["answer"] for row in large}
    assert len(small) == 20
    for prompt in {row["prompt"] for row in small}:
        numbers = [row["sample"] for row in small if row["prompt"] == prompt]
        assert numbers == list(range(len(numbers)))
    assert rows(tmp_path, file, limit=7) == rows(tmp_path, file)[:7]


@pytest.mark.parametrize(
    "exclude",
    [{"prompts": ["own:a"]}, {"prompts": [prompt_id([{"role": "user", "content": BAKERY}])]}, {"patterns": ["bakery"]}],
    ids=["set:id", "prompt_id", "pattern"],
)
def test_with_a_prompt_go_all_its_answers(tmp_path: Path, exclude: dict[str, list[str]]) -> None:
    facts = run(tmp_path, put(tmp_path, "a.jsonl", ROWS), exclude=exclude)
    assert (facts["answers"], facts["excluded"], facts["repeated"]) == (1, 2, 1)
    assert [entry["prompts"] for entry in facts["exclude"]] == [1]
    (left,) = pq.read_table(tmp_path / "out/answers.parquet").to_pylist()
    assert left["prompt"] == HARBOUR


def test_a_whole_source_leaves_an_empty_table(tmp_path: Path) -> None:
    facts = run(tmp_path, put(tmp_path, "a.jsonl", ROWS), exclude={"sources": ["own"]})
    assert (facts["answers"], facts["excluded"]) == (0, 3)
    assert pq.read_schema(tmp_path / "out/answers.parquet").equals(ANSWERS)


def test_what_is_taken_down_moves_nothing_up(tmp_path: Path) -> None:
    file = put(tmp_path, "a.jsonl", [{"prompt": f"Question {n}?", "response": "So."} for n in range(30)])
    before = rows(tmp_path, file, limit=10)
    after = rows(tmp_path, file, limit=10, exclude={"prompts": [before[0]["prompt_id"]]})
    assert after == before[1:]


@given(st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from("uvwxyz"), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_each_pair_of_prompt_and_response_stands_once(
    tmp_path_factory: Any, drawn: list[tuple[str, str, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    entries = [{"prompt": prompt, "response": text} if sound else {"prompt": prompt} for prompt, text, sound in drawn]
    wanted = {(prompt, text) for prompt, text, sound in drawn if sound}
    file = put(folder, "a.jsonl", entries)
    given = CollectSettings.model_validate({"set": "own", "answers": True, "bad_rows": "reject"})
    if not wanted:
        with pytest.raises(InputError, match="no prompts in it"):
            collect([file], given)
        return
    found = collect([file], given)
    assert sorted(zip(found.kept["prompt"].to_pylist(), found.kept["answer"].to_pylist(), strict=True)) == sorted(
        wanted
    )
    assert found.repeated == sum(sound for *_, sound in drawn) - len(wanted)
