"""Krippendorff's alpha: published numbers, and the interval's own arithmetic."""

import time
from typing import Any

import numpy as np
import pytest
from synthetic_judges import always_first, of_rate, says, verdicts

from stillhouse.evaluation.agreement import agreement, pairwise_agreement, rubric_agreement

# three coders of 15 units, the example of Krippendorff's that Hayes and Krippendorff (2007) and others retell
THREE = {
    "A": "*****34121133*3",
    "B": "1*213343*******",
    "C": "**21344*21133*4",
}
# four observers of 12 units: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011)
FOUR = {
    "A": "123321412***",
    "B": "1233224125*3",
    "C": "*3332342251*",
    "D": "12332441251*",
}


def units(coders: dict[str, str]) -> dict[Any, dict[str, float]]:
    length = len(next(iter(coders.values())))
    return {
        unit: {name: float(values[unit]) for name, values in coders.items() if values[unit] != "*"}
        for unit in range(length)
    }


@pytest.mark.parametrize(
    ("coders", "measure", "alpha"),
    [(THREE, "nominal", 0.691), (THREE, "interval", 0.811), (FOUR, "nominal", 0.743), (FOUR, "interval", 0.849)],
)
def test_published_numbers(coders: dict[str, str], measure: Any, alpha: float) -> None:
    found = agreement(units(coders), measure)
    assert found["alpha"] == pytest.approx(alpha, abs=5e-4)
    assert found["interval"][0] < alpha < found["interval"][1]
    assert found["judges"] == sorted(coders)


@pytest.mark.parametrize("measure", ["nominal", "interval"])
def test_the_interval_resamples_what_evalica_computes(measure: Any) -> None:
    """Many copies of the data have an interval that closes on evalica's number."""
    copies = {(copy, unit): values for copy in range(3000) for unit, values in units(FOUR).items()}
    found = agreement(copies, measure)
    assert found["interval"] == pytest.approx([found["alpha"]] * 2, abs=0.015)
    assert found["interval"][0] < found["alpha"] < found["interval"][1]


def test_judges_who_agree_differ_by_chance_or_contradict() -> None:
    said = np.random.default_rng(2).choice(["first", "second", "tie"], 200).tolist()
    same = [row for name in "ij" for row in verdicts(says(said), 200, judges=(name,))]
    assert pairwise_agreement(same)["alpha"] == 1.0
    chance = [row for name in range(2) for row in verdicts(of_rate(0.5, name), 200, judges=(str(name),))]
    found = pairwise_agreement(chance)
    assert found["interval"][0] < 0 < found["interval"][1]
    assert found["n"] == 400
    against = verdicts(says(["first", "second"] * 100), 200, judges=("i",))
    against += verdicts(says(["second", "first"] * 100), 200, judges=("j",))
    assert pairwise_agreement(against)["alpha"] == pytest.approx(-1, abs=0.01)


def test_orders_of_one_prompt_are_one_cluster() -> None:
    """Two judges, each of which says the same in either order, and the same comparison in one order only."""
    rng = np.random.default_rng(9)
    said = {name: rng.choice(["first", "second"], 60).tolist() for name in "ij"}
    both, one = (
        [row for name in "ij" for row in verdicts(says(said[name]), 60, judges=(name,), orders=orders)]
        for orders in (("first_second", "second_first"), ("first_second",))
    )
    wide, narrow = pairwise_agreement(one)["interval"], pairwise_agreement(both)["interval"]
    assert narrow == pytest.approx(wide, abs=0.02)


def test_rubric_scores_of_two_judges() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for prompt in range(60):
        level = rng.normal(7, 1)
        for judge in "ij":
            for subject in "ab":
                rows.append({
                    "subject": subject, "set": "s", "prompt_id": str(prompt), "sample": 0, "repeat": 0, "judge": judge,
                    "status": "scored" if prompt else "unscored", "overall": level + rng.normal(0, 0.5) if prompt else None,
                })  # fmt: skip
    found = rubric_agreement(rows)
    assert found["alpha"] == pytest.approx(0.8, abs=0.12)  # variance 1 of levels, 0.25 of judges
    assert (found["n"], found["judges"]) == (118, ["i", "j"])


def test_where_there_is_nothing_to_agree_on() -> None:
    assert agreement({}, "nominal") is None
    assert agreement({1: {"i": "tie"}, 2: {"j": "tie"}}, "nominal") is None
    assert pairwise_agreement(verdicts(always_first, 20)) is None
    alike = agreement({1: {"i": "tie", "j": "tie"}, 2: {"i": "tie", "j": "tie"}}, "nominal")
    assert alike == {"alpha": None, "interval": None, "n": 2, "judges": ["i", "j"]}
    alone = agreement({1: {"i": "tie", "j": "first"}}, "nominal")
    assert (alone["interval"], alone["n"]) == (None, 1)


def test_a_hundred_thousand_verdicts_take_seconds() -> None:
    rows = [row for name in "abcde" for row in verdicts(of_rate(0.5, ord(name)), 10_000, judges=(name,))]
    started = time.process_time()
    assert pairwise_agreement(rows)["n"] == 20_000
    assert time.process_time() - started < 5
