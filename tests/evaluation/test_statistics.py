"""Estimates and their invariants: clustering, bounds, differences, the published marker scores."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from synthetic_judges import says, verdicts

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.markers import score_markers
from stillhouse.evaluation.paired import permutation_p
from stillhouse.evaluation.respond import RESPONSES
from stillhouse.evaluation.statistics import complete_pairs, estimate, matched, paired_difference, prompt_differences
from stillhouse.provenance.digests import prompt_id
from stillhouse.provenance.files import read_parquet_rows, write_parquet

DATA = Path(__file__).parents[2].parent / "shared" / "data"


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


def test_the_mean_is_over_observations() -> None:
    """A prompt with more answers weighs more: the rate is what counting gives."""
    rows = [("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 0.0)]
    assert estimate(rows).mean == estimate(rows, bounds=(0, 1)).mean == 0.75
    assert estimate(rows, bounds=(0, 1)).prompts == 2


def test_bounds_are_respected_and_give_a_width_where_all_agree() -> None:
    agreed = estimate([(n, 1.0) for n in range(12)], bounds=(0, 1))
    assert agreed.interval == pytest.approx([0.025 ** (1 / 12), 1.0], abs=1e-6)
    high = estimate([(n, 10.0 if n else 9.5) for n in range(12)], bounds=(1, 10))
    assert 1 < high.interval[0] < high.mean < high.interval[1] <= 10


def test_a_share_allows_for_more_that_is_unseen_than_a_score() -> None:
    """Twelve wins of twelve have the exact interval; twelve full marks on a longer scale one of half a prompt."""
    share = estimate([(n, 1.0) for n in range(12)], bounds=(0, 1)).interval
    score = estimate([(n, 2.0) for n in range(12)], bounds=(0, 2)).interval
    assert share[0] < score[0] / 2 < 1
    assert score[0] / 2 == pytest.approx(stats.beta.ppf(0.025, 12, 0.5), abs=1e-6)


def test_values_off_the_bounds_widen_them() -> None:
    rows = [(n, 8.0) for n in range(11)] + [(11, 0.0)]
    found = estimate(rows, bounds=(1, 10))
    assert found == estimate(rows, bounds=(0, 10))
    assert found.interval[0] < found.mean < found.interval[1]


def test_the_level_and_the_names_of_prompts() -> None:
    rows = [(f"{n:03d}", float(n % 3)) for n in range(50)]
    wide, narrow = estimate(rows, level=0.99).interval, estimate(rows, level=0.8).interval
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert estimate([(("s", prompt), value) for prompt, value in rows]) == estimate(rows)


def test_the_deviation_is_that_of_a_prompt() -> None:
    values = np.random.default_rng(3).normal(0, 2, 500)
    assert estimate(list(enumerate(values))).deviation == pytest.approx(values.std(ddof=1), rel=1e-6)
    assert estimate([(0, 1.0)]).deviation is None


def test_hundreds_of_thousands_of_observations_take_seconds() -> None:
    rows = [(str(n % 70_000), float(n % 7)) for n in range(300_000)]
    started = time.process_time()
    assert estimate(rows, bounds=(0, 6)).prompts == 70_000
    assert time.process_time() - started < 3


def test_degenerate_estimates() -> None:
    assert estimate([]).plain() == {"mean": None, "interval": None, "n": 0, "prompts": 0}
    assert estimate([("a", 2.0)]).interval is None
    assert estimate([("a", 2.0), ("b", 2.0)]).interval == [2.0, 2.0]


def test_paired_difference_takes_common_prompts() -> None:
    found = paired_difference([("a", 3.0), ("b", 1.0), ("c", 9.0)], [("a", 1.0), ("b", 1.0), ("d", 5.0)])
    assert (found.mean, found.n) == (1.0, 2)


def test_differences_of_prompts_that_all_agree_still_have_a_width() -> None:
    first, second = [(n, 1.0) for n in range(12)], [(n, 0.0) for n in range(12)]
    for found in (paired_difference(first, second, bounds=(0, 1)), paired_difference(first, second)):
        assert found.mean == 1.0
        assert 0 < found.interval[0] < 1
        assert found.interval[1] == 1.0
    assert paired_difference(first, first).interval is None
    assert paired_difference(first, first, bounds=(0, 1)).interval[1] > 0


def test_a_difference_mirrors_and_needs_two_prompts() -> None:
    rng = np.random.default_rng(5)
    first, second = ([(n, value) for n, value in enumerate(rng.uniform(1, 10, 30))] for _ in range(2))
    one, other = paired_difference(first, second, bounds=(1, 10)), paired_difference(second, first, bounds=(1, 10))
    assert one.mean == -other.mean
    assert one.interval == pytest.approx([-end for end in reversed(other.interval)])
    assert paired_difference(first[:1], second).interval is None
    assert paired_difference(first, []).plain() == {"mean": None, "interval": None, "n": 0, "prompts": 0}


def test_differences_are_of_prompts_means() -> None:
    first = [("a", 1.0), ("a", 3.0), ("b", 1.0)]
    assert prompt_differences(first, [("b", 0.5), ("a", 0.0)]) == [2.0, 0.5]


def test_only_what_a_judge_gave_both_sides_is_matched() -> None:
    first = [("p", "a", 8.0), ("p", "a", 6.0), ("p", "b", 4.0), ("q", "b", 4.0), ("r", None, 1.0)]
    second = [("r", None, 0.0), ("q", "a", 8.0), ("q", "b", 5.0), ("p", "a", 9.0)]
    assert matched(first, second) == ([("p", 7.0), ("q", 4.0), ("r", 1.0)], [("p", 9.0), ("q", 5.0), ("r", 0.0)])
    assert matched(first, []) == ([], [])


def test_lines_of_one_text_and_two_ids_are_no_pair() -> None:
    """Two recorded ids with one prompt: shown in one order each, they are no comparison in both orders."""
    one, other = verdicts(says(["first"]), 1)
    assert complete_pairs([{**one, "id": "x"}, {**other, "id": "y"}]) == []
    assert len(complete_pairs([{**one, "id": "x"}, {**other, "id": "x"}])) == 1


def test_complete_pairs_have_a_verdict_in_both_orders() -> None:
    rows = verdicts(says(["first", "tie"]), 2)
    rows[0]["verdict"] = None
    assert complete_pairs(rows) == [(rows[2], rows[3])]
    plain = [{name: value for name, value in row.items() if name not in ("sample", "repeat")} for row in rows]
    assert len(complete_pairs(plain)) == 1  # the check of drafts has no such columns


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    rows = [("a", value), ("b", 1.0)]
    with pytest.raises(EvaluationError, match="finite"):
        estimate(rows, bounds=(0, 1))
    with pytest.raises(EvaluationError, match="finite"):
        paired_difference(rows, [("a", 0.0), ("b", 0.0)])
    with pytest.raises(EvaluationError, match="finite"):
        permutation_p([value, 1.0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[0.0, 1e-300], [1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0]])
@pytest.mark.parametrize("bounds", [(0, 1), (0, 0), None])
def test_odd_values_have_an_interval_around_their_mean(values: list[float], bounds: Any) -> None:
    found = estimate(list(enumerate(values)), bounds=bounds)
    assert found.interval[0] <= found.mean <= found.interval[1]
