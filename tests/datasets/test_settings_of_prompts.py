"""Prompts that differ in their system turns or tools alone are no duplicates; leaks and splits go by what is asked."""

import json

import pytest

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.settings import BuildSettings
from stillhouse.provenance.files import read_parquet_rows

ASKED = "How do I bake good bread at home for my whole family today?"
TOOLS = [json.dumps([{"function": {"name": name}, "type": "function"}]) for name in ("book", "search")]


def build(house, folder, told, **dataset):
    """Builds of rows that ask the same: (system turn or None, tools or None, what is asked)."""
    rows = []
    for number, (system, tools, asked) in enumerate(told):
        messages = [{"role": "user", "content": asked}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        row = house.answer_row(asked, "The same answer to all.", messages=messages, row_id=f"r{number}", tools=tools)
        rows.append({**row, "prompt_id": f"{row['prompt_id'][:14]}{number:02x}"})
    folder.mkdir(exist_ok=True)
    answers = {"a": house.write_answers(folder / "a.parquet", rows)}
    dataset = {"sources": [{"generation": "a"}], "split": {"train": 1.0, "valid": 0.0}, **dataset}
    held = house.write_prompts(folder / "held.parquet", [ASKED])
    build_dataset(BuildSettings.model_validate({"name": "d", "dataset": dataset}), answers, [held], folder / "out")
    return {row["id"]: row["reason"] for row in read_parquet_rows(folder / "out/dropped.parquet")}


@pytest.mark.parametrize("asked", [ASKED, ASKED.replace("today", "tonight")])
@pytest.mark.parametrize("over", ["prompt", "both"])
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("You are a pirate.", None), ("You are a chemist.", None), False),
        (("You are a pirate.", None), (None, None), False),
        (("You are a pirate.", None), ("you are  a pirate", None), True),
        ((None, TOOLS[0]), (None, TOOLS[1]), False),
        ((None, TOOLS[0]), (None, None), False),
        ((None, TOOLS[0]), (None, TOOLS[0]), True),
        (("You are a pirate.", TOOLS[0]), ("You are a pirate.", TOOLS[1]), False),
    ],
)
def test_duplicates_agree_in_system_turns_and_tools(house, tmp_path, one, other, same, over, asked):
    near = {"threshold": 0.6, "over": over}
    dropped = build(house, tmp_path, [(*one, ASKED), (*other, asked)], near_duplicates=near)
    assert len(dropped) == same


def test_answers_are_compared_without_them(house, tmp_path):
    near = {"threshold": 0.5, "over": "answer"}
    dropped = build(
        house, tmp_path, [("Be kind.", None, ASKED), ("Be brief.", None, "Name a river")], near_duplicates=near
    )
    assert len(dropped) == 1


def test_leaks_are_told_without_them(house, tmp_path):
    told = [("You are a pirate.", TOOLS[0], ASKED), (None, None, "Name a river")]
    assert build(house, tmp_path, told, decontaminate={"against": ["e"]}) == {"r0": "decontamination"}


@pytest.mark.parametrize("near", [None, {"threshold": 0.85}, {"threshold": 0.5}, {"threshold": 0.95}])
def test_splits_are_kept_apart_without_them(house, tmp_path, near):
    told = [(f"You are pirate number {number}.", None, ASKED) for number in range(40)]
    dropped = build(house, tmp_path, told, near_duplicates=near, split={"train": 0.5, "valid": 0.5})
    assert set(dropped.values()) == {"near_of_train"}
