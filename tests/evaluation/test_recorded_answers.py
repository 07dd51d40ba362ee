"""Recorded answers come through the door of live ones, or are refused with file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import EvaluationError, InputError, StillhouseError
from stillhouse.evaluation.recorded_answers import replay_recorded
from stillhouse.evaluation.respond import SubjectSettings
from stillhouse.prompts.read import read_prompts
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling

SETTINGS = SubjectSettings(
    subject="old", condition="student", roles={"plans": "target", "daily": "forgetting"}, sampling=Sampling()
)


def line(number: int, response: Any = "An answer.", **more: Any) -> dict[str, Any]:
    return {"id": f"p-{number}", "prompt": f"Question {number}?", "category": "food", "response": response, **more}


def write(folder: Path, lines: list[Any], name: str = "recorded.jsonl") -> Path:
    file = folder / name
    file.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return file


def replayed(folder: Path, lines: list[Any], prompts: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    rows = prompts or read_prompts(write(folder, [line(1), line(2)], "prompts.jsonl"), "plans", recorded=True)
    replay_recorded(rows, write(folder, lines), SETTINGS, folder / "responses.parquet")
    return read_parquet_rows(folder / "responses.parquet")


def test_the_recorded_file_is_its_own_prompt_set(tmp_path: Path) -> None:
    file = write(tmp_path, [line(1), line(1, "Another."), line(2)])
    rows = read_prompts(file, "plans", recorded=True)
    assert sorted(row["id"] for row in rows) == ["p-1", "p-2"]
    assert {row["metadata"] for row in rows} == {"{}"}
    with pytest.raises(InputError, match="line 2: id 'p-1' was in line 1"):
        read_prompts(file, "plans")


def test_lines_with_one_id_are_samples(tmp_path: Path) -> None:
    rows = replayed(tmp_path, [line(2), line(1, "one"), line(1, "two")])
    assert sorted((r["id"], r["sample"], r["answer"]) for r in rows) == [
        ("p-1", 0, "one"), ("p-1", 1, "two"), ("p-2", 0, "An answer."),
    ]  # fmt: skip


def test_an_unclosed_think_block_keeps_the_answer(tmp_path: Path) -> None:
    rows = replayed(tmp_path, [line(1, "<think>\n\nThe whole answer."), line(2, "<think>no</think>Yes.")])
    assert sorted(row["answer"] for row in rows) == ["The whole answer.", "Yes."]


def test_null_is_no_answer(tmp_path: Path) -> None:
    assert [row["id"] for row in replayed(tmp_path, [line(1, None), line(2)])] == ["p-2"]


def test_a_set_that_is_not_touched_is_left_out(tmp_path: Path) -> None:
    plans = read_prompts(write(tmp_path, [line(1)], "a.jsonl"), "plans", recorded=True)
    daily = read_prompts(write(tmp_path, [line(7), line(8)], "b.jsonl"), "daily", recorded=True)
    assert [row["set"] for row in replayed(tmp_path, [line(1)], [*plans, *daily])] == ["plans"]
    with pytest.raises(EvaluationError, match=r"no answer to 1 prompts, such as p-8 of set daily"):
        replayed(tmp_path, [line(1), line(7)], [*plans, *daily])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([line(1), line(2, prompt="Another question?")], "line 2: id 'p-2': it answers another prompt"),
        ([line(1), {"id": "p-2"}], 'line 2: expected {"id", "response"}, found keys id'),
        ([line(1), {"response": "x"}], "line 2: expected"),
        ([line(1), line(2, 7)], "line 2: \"response\" must be text or null, found int"),
        ([line(1), "{broken"], "line 2: not JSON"),
        ([line(1), "[1]"], "line 2: expected an object, found list"),
        ([line(9)], "no answer to any prompt of this evaluation; ids have to match"),
        ([line(1, None), line(2, None)], "all of its answers are null"),
        ([line(1), line(2, "\ud83d cut")], "line 2: half a character"),
        ([line(1), '{"id": "p-2", "id": "p-1", "response": "x"}'], "line 2: not JSON (a key comes twice)"),
        ([line(1), '{"id": "p-2", "deep": ' + "[" * 100_000], "line 2: not JSON"),
        ([], "no answer to any prompt"),
    ],
)  # fmt: skip
def test_faults_name_file_and_line(tmp_path: Path, lines: list[Any], words: str) -> None:
    with pytest.raises(StillhouseError) as caught:
        replayed(tmp_path, lines)
    assert "recorded.jsonl" in str(caught.value)
    assert words in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    rows = read_prompts(write(tmp_path, [line(1)], "prompts.jsonl"), "plans", recorded=True)
    file = tmp_path / "recorded.jsonl"
    file.write_bytes(json.dumps(line(1)).encode() + b'\n{"id": "\xff"}\n')
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        replay_recorded(rows, file, SETTINGS, tmp_path / "out.parquet")


def test_spaces_do_not_make_another_prompt(tmp_path: Path) -> None:
    assert len(replayed(tmp_path, [line(1, prompt=" Question  1?\n"), line(2)])) == 2


def test_one_answer_with_two_judgements_is_one_sample(tmp_path: Path) -> None:
    judged = [line(1, judge=judge, components={}) for judge in ("one", "two")]
    assert [row["sample"] for row in replayed(tmp_path, [*judged, line(2)])] == [0, 0]
    assert len(replayed(tmp_path, [line(1), line(1), line(2)])) == 3, (
        "without judgements the same words are two samples"
    )


def test_one_id_in_two_sets_is_told_apart_by_its_prompt(tmp_path: Path) -> None:
    plans = read_prompts(write(tmp_path, [line(1)], "a.jsonl"), "plans", recorded=True)
    daily = read_prompts(write(tmp_path, [line(1, prompt="Another one?")], "b.jsonl"), "daily", recorded=True)
    rows = replayed(tmp_path, [line(1, "first"), line(1, "second", prompt="Another one?")], [*plans, *daily])
    assert {(row["set"], row["answer"]) for row in rows} == {("plans", "first"), ("daily", "second")}
    bare = {"id": "p-1", "response": "which?"}
    with pytest.raises(InputError, match="line 1: id 'p-1' stands for different prompts in the sets plans, daily"):
        replayed(tmp_path, [bare], [*plans, *daily])


def test_answers_to_no_prompt_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    replayed(tmp_path, [line(1), line(2), line(77)])
    assert "1 answers belong to no prompt of this evaluation, such as p-77" in caplog.text
