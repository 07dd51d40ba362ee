"""One adapter served in several ways: rows, and paired differences by category."""

from typing import Any

import pytest
from judged_rows import answer, broke, mark, place, reported, scored, settings

Row = dict[str, Any]

SUBJECTS = {
    "packed": {"export": "mixed", "serve": "gguf:Q4_K_M"},
    "student": {"adapter": "mixed", "condition": "student"},
    "merged": {"export": "mixed", "serve": "merged"},
    "plain": {"adapter": "plain", "serve": "peft"},
    "vanilla": {"model": "smollm2"},
}
ADAPTERS = {"packed": "mixed", "student": "mixed", "merged": "mixed", "plain": "plain"}
RAWS = {"student": [4, 4, 2, 0], "packed": [4, 2, 2, 0], "merged": [4, 4, 2, 0], "plain": [1] * 4, "vanilla": [0] * 4}


def served(subjects: dict[str, Row] = SUBJECTS) -> list[Row]:
    at = [place(f"p{number}", category=("a", "a", "b", None)[number]) for number in range(4)]
    away = place("e0", "everyday", category="a")
    rows: dict[str, list[Row]] = {"answers": [], "markers": [], "breaks": [], "rubric": []}
    for name, raws in RAWS.items():
        for here, raw in zip(at, raws, strict=True):
            rows["answers"].append(answer(name, here))
            rows["markers"].append(mark(name, here, raw))
            rows["breaks"].append(broke(name, here, name == "packed" and raw == 0))
        rows["markers"].append(mark(name, away, 4))
        rows["rubric"].append(scored(name, at[0], 8.0 if name == "student" else 6.0))
    told = settings(subjects=subjects, adapters=ADAPTERS, sets={"plans": "target", "everyday": "forgetting"})
    return reported(told, **rows)["serving"]


def test_each_way_is_compared_with_peft() -> None:
    [group] = served()
    assert group["adapter"] == "mixed"
    assert [(row["subject"], row["serve"], row["n"]) for row in group["rows"]] == [
        ("packed", "gguf:Q4_K_M", 4),
        ("student", "peft", 4),
        ("merged", "merged", 4),
    ]
    packed, student, _ = group["rows"]
    assert (packed["markers"]["mean"], student["markers"]["mean"]) == (0.5, 0.625)
    assert (packed["breaks"]["mean"], student["breaks"]["mean"]) == (0.25, 0.0)
    assert (packed["rubric"]["mean"], student["rubric"]["n"]) == (6.0, 1)
    assert {item["second"] for item in group["differences"]} == {"student"}


@pytest.mark.parametrize(
    ("metric", "category", "difference", "prompts"),
    [("capped", None, -0.125, 4), ("capped", "a", -0.25, 2), ("capped", "b", 0.0, 1)]
    + [("rubric", None, -2.0, 1), ("rubric", "a", -2.0, 1), ("breaks", None, 0.25, 4), ("breaks", "a", 0.0, 2)],
)
def test_differences_are_paired_by_prompt(metric: str, category: str | None, difference: float, prompts: int) -> None:
    [found] = [
        item["difference"]
        for item in served()[0]["differences"]
        if (item["first"], item["metric"], item["category"]) == ("packed", metric, category)
    ]
    assert (found["mean"], found["prompts"]) == (difference, prompts)


def test_a_subject_with_a_system_prompt_differs_in_more_than_its_serving() -> None:
    subjects = {**SUBJECTS, "packed": {**SUBJECTS["packed"], "system": "framework.md"}}
    [group] = served(subjects)
    assert [row["subject"] for row in group["rows"]] == ["student", "merged"]


def test_rubric_differences_are_within_a_judge() -> None:
    """Both ways have the same scores, but one judge gave one of them no verdict on most prompts."""
    rows = [
        scored(name, place(f"p{number}"), level, judge)
        for name in ("packed", "student")
        for number in range(5)
        for judge, level in (("mild", 8.0), ("stern", 4.0))
        if not (name == "packed" and judge == "stern" and number)
    ]
    told = settings(subjects=SUBJECTS, adapters=ADAPTERS)
    [found] = reported(told, rubric=rows)["serving"][0]["differences"]
    assert (found["metric"], found["difference"]["mean"], found["difference"]["prompts"]) == ("rubric", 0.0, 5)


def test_breaks_are_those_on_target_sets() -> None:
    rows = [broke(name, place("p"), False) for name in ("packed", "student")]
    rows += [broke("packed", place("e", "everyday"), True), broke("student", place("e", "everyday"), False)]
    [group] = reported(settings(subjects=SUBJECTS, adapters=ADAPTERS), breaks=rows)["serving"]
    assert [row["breaks"]["mean"] for row in group["rows"]] == [0.0, 0.0]
    assert [item["difference"]["mean"] for item in group["differences"]] == [0.0]


def test_one_way_of_serving_is_no_group() -> None:
    subjects = {name: {**told, "serve": "peft"} for name, told in SUBJECTS.items()}
    assert served(subjects) == []
