"""Rubric means as recorded and recomputed; what is unscored counts and is never zero."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.evaluation.scores import rubric_means
from stillhouse.evaluation.statistics import estimate

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "foundry-qwen3-v1"
WEIGHTS = {
    "voice_authenticity": 25,
    "rhetorical_pattern": 20,
    "historical_accuracy": 20,
    "position_fidelity": 20,
    "character_integrity": 15,
}


def row(prompt: str, overall: float | None, **more: Any) -> dict[str, Any]:
    """A live verdict of one judge."""
    parts = {} if overall is None else {"voice": {"score": overall}, "use": {"score": overall - 1}}
    return {
        "subject": "a", "set": "s", "prompt_id": prompt, "sample": 0, "judge": "j", "repeat": 0, "source": "live",
        "category": None, "difficulty": None, "status": "unscored" if overall is None else "scored", "overall": overall,
        "components": json.dumps(parts), "judge_overall": overall, "recorded_overall": None, "critical_failures": [],
        **more,
    }  # fmt: skip


def test_unscored_are_counted_and_never_zero() -> None:
    rows = [row("p", 8.0, difficulty="hard", critical_failures=["x"]), row("q", None, difficulty="hard")]
    recorded, recomputed = rubric_means(rows)
    for found in (recorded, recomputed):
        assert (found["overall"], found["n"], found["unscored"], found["critical_failures"]) == (8.0, 1, 1, 1)
        assert found["by_category"] == {}
        assert found["by_difficulty"] == {"hard": 8.0}
        assert found["counts"] == {"by_category": {}, "by_difficulty": {"hard": 1}}
    assert recomputed["by_component"] == {"use": 7.0, "voice": 8.0}


def test_what_the_judge_wrote_stands_beside_what_its_components_come_to() -> None:
    rows = [row("p", 8.0, judge_overall=9.5), row("q", 6.0, judge_overall=None), row("r", None, judge_overall=4.0)]
    recorded, recomputed = rubric_means(rows)
    assert (recorded["overall"], recorded["n"], recorded["unscored"]) == (6.75, 2, 1)
    assert (recomputed["overall"], recomputed["n"], recomputed["unscored"]) == (7.0, 2, 1)


def test_placeholders_of_a_published_run_count_in_what_was_recorded_alone() -> None:
    said = {"source": "recorded", "judge_overall": None}
    failed = ["Failed to parse judge JSON: line 1"]
    rows = [
        row("p", 8.0, **said, recorded_overall=8.2, category="x"),
        row("q", None, **said, recorded_overall=0.0, category="x", critical_failures=failed),
        row("r", 6.0, **said, recorded_overall=6.2, category="y", critical_failures=["breaks character"]),
    ]
    recorded, recomputed = rubric_means(rows, bounds=(1, 10))
    assert recorded["overall"] == pytest.approx(14.4 / 3)
    assert (recorded["n"], recorded["unscored"], recorded["critical_failures"]) == (3, 0, 2)
    assert (recomputed["overall"], recomputed["n"], recomputed["unscored"]) == (7.0, 2, 1)
    assert recomputed["critical_failures"] == 1
    assert recorded["by_category"] == {"x": 4.1, "y": 6.2}
    assert recomputed["by_category"] == {"x": 8.0, "y": 6.0}
    # the placeholder's zero is off the scale and widens it
    assert recorded["interval"] == estimate([("p", 8.2), ("q", 0.0), ("r", 6.2)], bounds=(0, 10)).interval


def test_critical_failures_are_of_answers() -> None:
    rows = [row("p", 8.0, judge=judge, critical_failures=["x"]) for judge in "ijk"]
    rows.append(row("p", 8.0, sample=1, critical_failures=["x"]))
    recorded, recomputed = rubric_means(rows)
    assert recorded["critical_failures"] == recomputed["critical_failures"] == 2


def test_intervals_are_clustered_and_on_the_scale() -> None:
    once = [row(str(n), 9.0 + (n % 3) / 2, category="x") for n in range(12)]
    many = [{**one, "judge": judge} for one in once for judge in "ijkl"]
    (_, alone), (_, judged) = (rubric_means(rows, bounds=(1, 10)) for rows in (once, many))
    assert judged["interval"] == alone["interval"]
    assert judged["n"] == 48
    assert 1 < alone["interval"][0] < 9.5 < alone["interval"][1] <= 10
    assert alone["intervals"]["by_category"] == {"x": alone["interval"]}


def test_nothing() -> None:
    recorded, recomputed = rubric_means([])
    assert (recorded["overall"], recorded["interval"], recorded["n"]) == (None, None, 0)
    assert recomputed["by_component"] == {}


def published() -> Iterator[dict[str, Any]]:
    """The rows of a judged run that is not ours, as rubric.parquet would have them."""
    for line in (DATA / "judged.jsonl").read_text().splitlines():
        told = json.loads(line)
        overall = sum(WEIGHTS[name] * part["score"] for name, part in told["components"].items()) / 100
        kept = {name: told[name] for name in ("category", "difficulty", "judge_overall", "recorded_overall")}
        failures = told["critical_failures"]
        yield row(told["id"], overall, **kept, source="recorded", critical_failures=failures)


@pytest.mark.skipif(not DATA.is_dir(), reason="published runs are not at ../shared/data")
def test_numbers_of_the_published_run() -> None:
    expected = json.loads((DATA / "expected.json").read_text())
    recorded, recomputed = rubric_means(list(published()), bounds=(1, 10))
    assert recorded["n"] == expected["n"]
    assert recomputed["n"] == expected["scored"]
    for name, found in (("recorded", recorded), ("recomputed", recomputed)):
        assert found["overall"] == pytest.approx(expected[f"overall_{name}"], abs=5e-5)
        assert found["by_category"] == pytest.approx(expected[f"by_category_{name}"], abs=5e-5)
        assert found["by_difficulty"] == pytest.approx(expected[f"by_difficulty_{name}"], abs=5e-5)
        assert found["critical_failures"] == expected["critical_failures"]
        assert found["interval"][0] < found["overall"] < found["interval"][1]
