"""Contamination: evaluation prompts are found in training data by identity and by text."""

from pathlib import Path

import pyarrow as pa
import pytest
from judged_rows import answer, both_orders, place, reported, settings

from stillhouse.errors import InputError
from stillhouse.evaluation.contamination import Held, contamination, normal_text
from stillhouse.provenance.files import write_parquet

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TRAIN = pa.schema([("prompt", MESSAGES), ("prompt_id", pa.string())])


def dataset(folder: Path, rows: list[tuple[str, list[str]]]) -> Path:
    """train.parquet of (prompt_id, the user's turns)."""
    talks = [
        {"prompt_id": prompt, "prompt": [{"role": "user", "content": turn} for turn in turns]} for prompt, turns in rows
    ]
    write_parquet(folder / "train.parquet", talks, TRAIN)
    return folder / "train.parquet"


HELD = Held({"e-1": normal_text("Review this plan: a bakery."), "e-2": normal_text("Tell me a joke!"), "e-3": None})


@pytest.mark.parametrize(
    ("prompt", "turns", "exact"),
    [
        ("e-1", ["other words"], 1),
        ("t", ["review  this PLAN; a bakery"], 1),
        ("t", ["Hello.", "Tell me a joke"], 1),
        ("e-3", ["whatever"], 1),
        ("e-1", ["Tell me a joke!"], 2),
        ("t", ["Review this plan: a bakery, in May."], 0),
        ("t", [""], 0),
    ],
)
def test_a_prompt_is_found_by_identity_or_text(tmp_path: Path, prompt: str, turns: list[str], exact: int) -> None:
    found = contamination({"student": ["mixed"]}, {"mixed": dataset(tmp_path, [(prompt, turns)])}, (), HELD)
    assert found["trained"]["student"]["exact"] == exact
    assert found["trained"]["student"]["prompts"] == 3
    assert found["checked"] is True


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What's a mill?", "what\u2019s  a mill", True),
        ("\u201cHalt!\u201d", "halt", True),
        ("ＡＢＣ", "abc", True),
        ("What is C#?", "What is C?", False),
        ("3*4", "3+4", False),
        ("?!", "?!", True),
        ("?!", "...", False),
    ],
)
def test_spelling_changes_nothing_and_signs_do(one: str, other: str, same: bool) -> None:
    assert (normal_text(one) == normal_text(other)) is same


def test_a_whole_conversation_counts_without_its_system_messages(tmp_path: Path) -> None:
    turns = (("system", "Tell me a joke!"), ("user", "Review this plan:"), ("assistant", "a bakery."))
    talk = [{"role": role, "content": content} for role, content in turns]
    write_parquet(tmp_path / "train.parquet", [{"prompt_id": "t", "prompt": talk}], TRAIN)
    assert contamination({"s": ["d"]}, {"d": tmp_path / "train.parquet"}, (), HELD)["trained"]["s"]["exact"] == 1


def test_several_datasets_of_one_subject_count_together(tmp_path: Path) -> None:
    trained = {
        "one": dataset(tmp_path / "one", [("e-1", ["x"])]),
        "two": dataset(tmp_path / "two", [("e-1", ["x"]), ("e-2", ["y"])]),
    }
    found = contamination({"student": ["one", "two"], "plain": ["one"]}, trained, (), HELD)
    assert found["trained"]["student"] == {
        **{"dataset": "one, two", "exact": 2, "prompts": 3},
        "decontaminated": False,
    }
    assert found["words"] == (
        "2 of 3 evaluation prompts are in the training data of student (dataset one, two). "
        "1 of 3 evaluation prompts is in the training data of plain (dataset one)."
    )


def test_no_more_is_claimed_than_was_looked_for(tmp_path: Path) -> None:
    trained = {name: dataset(tmp_path / name, [("t", ["x"])]) for name in ("held", "loose")}
    subjects = {"student": ["held"], "plain": ["loose"], "both": ["held", "loose"]}
    found = contamination(subjects, trained, ["held"], HELD)
    assert [found["trained"][name]["decontaminated"] for name in subjects] == [True, False, False]
    assert found["words"] == (
        "No evaluation prompt is word for word in the training data of student. No evaluation prompt is word for word "
        "in the training data of plain and both (near-duplicates were not looked for)."
    )


def test_unread_training_data_is_said_to_be_so(tmp_path: Path) -> None:
    trained = {"one": dataset(tmp_path, [("t", ["x"])])}
    found = contamination({"student": ["one", "two"], "plain": ["two"]}, trained, (), HELD)
    assert found["checked"] is False
    assert found["words"].endswith("The training data of student and plain could not be checked.")
    assert "not checked" in contamination({}, {}, (), HELD)["words"]


def test_a_contaminated_report_says_so_first(tmp_path: Path) -> None:
    trained = {"mixed": dataset(tmp_path, [("p-1", ["x"])])}
    rows = [row for number in range(9) for row in both_orders("student", "vanilla", place(f"p-{number}"), "first")]
    answers = [answer(name, place(f"p-{number}")) for name in ("student", "vanilla") for number in range(9)]
    told = settings(datasets={"student": ["mixed"]})
    found = reported(told, trained, answers=answers, pairwise=rows)["headline"]
    assert found["words"].endswith(" 1 of 9 evaluation prompts is in the training data of student (dataset mixed).")
    assert found["warnings"][0].startswith("1 of 9 evaluation prompts is in the training data of student")
    assert found["tone"] == "open"
    assert reported(answers=answers, pairwise=rows)["headline"]["tone"] == "good"


def test_files_that_are_no_dataset_are_named(tmp_path: Path) -> None:
    train = tmp_path / "train.parquet"
    for content in (None, b"no parquet"):
        if content is not None:
            train.write_bytes(content)
        with pytest.raises(InputError, match=r"train\.parquet"):
            contamination({"s": ["d"]}, {"d": train}, (), HELD)
    write_parquet(train, [{"other": "x"}], pa.schema([("other", pa.string())]))
    with pytest.raises(InputError, match=r"train\.parquet: no training rows"):
        contamination({"s": ["d"]}, {"d": train}, (), HELD)
