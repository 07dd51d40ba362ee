"""Estimates and their invariants: synthetic judges, clustering, published numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillhouse.evaluation.markers import score_markers
from stillhouse.evaluation.respond import RESPONSES
from stillhouse.evaluation.rubric_file import Rubric
from stillhouse.evaluation.statistics import estimate, paired_difference, rubric_means, win_rate
from stillhouse.evaluation.verdicts import read_verdict
from stillhouse.provenance.digests import prompt_id
from stillhouse.provenance.files import read_parquet_rows, write_parquet

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def comparison(number: int, first_shown: str | None, second_shown: str | None) -> list[dict[str, Any]]:
    """Two verdicts on one prompt: when the pair's first subject is shown first, and when second."""
    base = {"first": "a", "second": "b", "set": "s", "prompt_id": f"{number:03d}", "judge": "j"}
    return [
        {**base, "order": "first_second", "verdict": first_shown},
        {**base, "order": "second_first", "verdict": second_shown},
    ]


def test_always_first_gives_half_and_flips_every_time() -> None:
    found = win_rate([row for n in range(20) for row in comparison(n, "first", "second")])
    assert (found["rate"], found["flip_rate"], found["n"]) == (0.5, 1.0, 40)
    assert found["interval"] == [0.5, 0.5]


def test_counts_ties_and_incomplete_comparisons() -> None:
    rows = [*comparison(0, "first", "first"), *comparison(1, "tie", "tie"), *comparison(2, "first", None)]
    found = win_rate(rows)
    assert {key: found[key] for key in ("win", "tie", "loss", "n", "rate", "incomplete", "flip_rate")} == {
        "win": 2,
        "tie": 2,
        "loss": 0,
        "n": 4,
        "rate": 0.75,
        "incomplete": 2,
        "flip_rate": 0.0,
    }


def test_garbage_leaves_the_rate_unbiased_for_a_judge_that_picks_a_place() -> None:
    rng = np.random.default_rng(3)
    rows = [row for n in range(200) for row in comparison(n, "first", "second")]
    rows = [{**row, "verdict": None} if rng.random() < 0.1 else row for row in rows]
    found = win_rate(rows)
    assert found["rate"] == 0.5
    assert found["n"] < 400


def test_estimate_is_clustered_by_prompt() -> None:
    rng = np.random.default_rng(1)
    prompts = {f"{n:03d}": rng.normal() for n in range(40)}
    rows = [(p, value + 0.1 * rng.normal()) for p, value in prompts.items() for _ in range(10)]
    low, high = estimate(rows).interval
    assert high - low > 2 * 1.96 * np.std(list(prompts.values())) / np.sqrt(400)
    assert estimate(rows).n == 400
    assert estimate(rows).prompts == 40


def test_interval_of_known_spread() -> None:
    values = [(f"{n:03d}", float(n % 2)) for n in range(100)]
    found = estimate(values)
    assert found.mean == 0.5
    assert found.interval == pytest.approx([0.4, 0.6], abs=0.02)
    assert found == estimate(reversed(values))


@pytest.mark.slow
def test_coverage_of_the_interval_on_clustered_data() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        means = rng.normal(0.3, 1.0, 60)
        rows = [(f"{n:02d}", mean + rng.normal(0, 0.5)) for n, mean in enumerate(means) for _ in range(3)]
        low, high = estimate(rows).interval
        covered += low <= 0.3 <= high
    assert covered >= 0.9 * 200


def test_degenerate_estimates() -> None:
    assert estimate([]).plain() == {"mean": None, "interval": None, "n": 0, "prompts": 0}
    assert estimate([("a", 2.0)]).interval is None
    assert estimate([("a", 2.0), ("b", 2.0)]).interval == [2.0, 2.0]


def test_paired_difference_takes_common_prompts() -> None:
    found = paired_difference([("a", 3.0), ("b", 1.0), ("c", 9.0)], [("a", 1.0), ("b", 1.0), ("d", 5.0)])
    assert (found.mean, found.n) == (1.0, 2)


def test_unscored_are_counted_and_never_zero() -> None:
    part = {"prompt_id": "p", "category": None, "difficulty": "hard", "components": {"a": {"score": 8.0}}}
    rows = [
        {**part, "status": "scored", "overall": 8.0, "critical_failures": ["x"]},
        {**part, "status": "unscored", "overall": None, "critical_failures": [], "components": {}},
    ]
    found = rubric_means(rows)
    assert (found["overall"], found["n"], found["unscored"], found["critical_failures"]) == (8.0, 1, 1, 1)
    assert found["by_category"] == {}
    assert found["by_difficulty"] == {"hard": 8.0}
    assert found["by_component"] == {"a": 8.0}


@pytest.mark.skipif(not (DATA / "hammerstein-v3a").is_dir(), reason="published runs are not at ../shared/data")
def test_markers_of_the_published_run(tmp_path: Path) -> None:
    folder = DATA / "hammerstein-v3a"
    expected = json.loads((folder / "expected.json").read_text())
    markers = tmp_path / "markers.yaml"
    markers.write_text(json.dumps({"cap": expected["cap"], "markers": expected["markers"]}))
    files = []
    for subject in expected["conditions"]:
        rows = [json.loads(line) for line in (folder / f"{subject}.jsonl").read_text().splitlines()]
        files.append(tmp_path / f"{subject}.parquet")
        write_parquet(files[-1], [recorded(row, subject) for row in rows], RESPONSES)
    score_markers(files, markers, tmp_path / "scored.parquet")
    scored = read_parquet_rows(tmp_path / "scored.parquet")
    for subject, sets in expected["conditions"].items():
        for name, want in sets.items():
            found = [row for row in scored if (row["subject"], row["set"]) == (subject, name)]
            assert len(found) == want["n"]
            for metric in ("raw", "capped"):
                mean = estimate([(row["prompt_id"], row[metric]) for row in found]).mean
                assert mean == pytest.approx(want[metric], abs=5e-5)


def recorded(row: dict[str, Any], subject: str) -> dict[str, Any]:
    forgetting = row["category"] == "forgetting"
    return {
        **{key: row[key] for key in ("id", "category", "difficulty", "prompt")},
        "prompt_id": prompt_id([{"role": "user", "content": row["prompt"]}]),
        "set": "forgetting" if forgetting else "strategic",
        "role": "forgetting" if forgetting else "target",
        "subject": subject,
        "condition": subject,
        "system": False,
        "answer": row["response"],
        "finish_reason": "recorded",
        "completion_tokens": None,
        "calls": [],
    }


@pytest.mark.skipif(not (DATA / "foundry-qwen3-v1").is_dir(), reason="published runs are not at ../shared/data")
def test_recomputed_rubric_of_the_published_run(reply: Any) -> None:
    folder = DATA / "foundry-qwen3-v1"
    expected = json.loads((folder / "expected.json").read_text())
    names = (
        "voice_authenticity",
        "rhetorical_pattern",
        "historical_accuracy",
        "position_fidelity",
        "character_integrity",
    )
    parts = {n: {"weight": w, "scale": (1, 10)} for n, w in zip(names, (25, 20, 20, 20, 15), strict=True)}
    rubric = Rubric.model_validate({"components": parts})
    rows = []
    for line in (folder / "judged.jsonl").read_text().splitlines():
        row = json.loads(line)
        told = {**row["components"], "critical_failures": row["critical_failures"], "overall": row["judge_overall"]}
        verdict = read_verdict(reply(f"```json\n{json.dumps(told)}\n```"), rubric)
        fields = {name: getattr(verdict, name) for name in ("components", "overall", "critical_failures")}
        status = "unscored" if verdict.reason else "scored"
        rows.append(
            {**fields, **{k: row[k] for k in ("category", "difficulty")}, "prompt_id": row["id"], "status": status}
        )
    found = rubric_means(rows)
    assert found["n"] == expected["scored"]
    assert found["overall"] == pytest.approx(expected["overall_recomputed"], abs=5e-5)
    assert found["by_category"] == pytest.approx(expected["by_category_recomputed"], abs=5e-5)
    assert found["by_difficulty"] == pytest.approx(expected["by_difficulty_recomputed"], abs=5e-5)
    assert found["critical_failures"] == expected["critical_failures"]
