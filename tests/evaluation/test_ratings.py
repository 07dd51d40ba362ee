"""Bradley-Terry ratings: known strengths, ties, and tournaments that have no scale."""

from itertools import combinations

import numpy as np
import pytest
from synthetic_judges import Row, always_first, of_rate, says, verdicts

from stillhouse.evaluation.ratings import bradley_terry


def round_robin(strengths: dict[str, float], prompts: int, seed: int = 0) -> list[Row]:
    """Verdicts that come of the strengths."""
    rows = []
    for number, (one, other) in enumerate(combinations(strengths, 2)):
        rate = strengths[one] / (strengths[one] + strengths[other])
        rows += verdicts(of_rate(rate, seed + number), prompts, pair=(one, other))
    return rows


def test_known_strengths_are_found_again() -> None:
    found = bradley_terry(round_robin({"a": 10.0, "b": 1.0, "c": 0.1}, 1500))
    assert found["order"] == ["a", "b", "c"]
    ratings = {name: told["rating"] for name, told in found["subjects"].items()}
    assert ratings == pytest.approx({"a": 1400, "b": 1000, "c": 600}, abs=35)
    assert [told["place"] for told in found["subjects"].values()] == [1, 2, 3]
    assert np.mean(list(ratings.values())) == pytest.approx(1000, abs=1e-5)


def test_the_order_of_a_pair_and_of_rows_does_not_matter() -> None:
    rows = round_robin({"a": 2.0, "b": 1.0, "c": 1.0}, 30)
    back = {"first": "second", "second": "first"}
    turned = [{**row, "first": row["second"], "second": row["first"], "verdict": back[row["verdict"]]} for row in rows]
    assert bradley_terry(turned) == bradley_terry(rows)


def test_ties_and_flips_are_even() -> None:
    rows = [row for pair in combinations("abc", 2) for row in verdicts(says(["tie"] * 20), 20, pair=pair)]
    assert {told["rating"] for told in bradley_terry(rows)["subjects"].values()} == {1000.0}
    rows = [row for pair in combinations("abc", 2) for row in verdicts(always_first, 20, pair=pair)]
    assert {told["rating"] for told in bradley_terry(rows)["subjects"].values()} == {1000.0}


def test_one_who_always_wins_or_loses_has_a_finite_rating_and_a_wide_interval() -> None:
    rows = [row for pair in combinations("abc", 2) for row in verdicts(says(["first"] * 12), 12, pair=pair)]
    found = bradley_terry(rows)
    assert found["order"] == ["a", "b", "c"]
    for told in found["subjects"].values():
        low, high = told["interval"]
        assert np.isfinite([low, told["rating"], high]).all()
        assert high - low > 100


def test_several_verdicts_on_one_prompt_do_not_count_as_so_many() -> None:
    def width(rows: list[Row]) -> float:
        low, high = bradley_terry(rows)["subjects"]["a"]["interval"]
        return high - low

    rng = np.random.default_rng(5)
    once = round_robin({"a": 2.0, "b": 1.0, "c": 1.0}, 60)
    agreed = [{**row, "repeat": repeat} for row in once for repeat in range(4)]
    fresh = round_robin({"a": 2.0, "b": 1.0, "c": 1.0}, 240, seed=int(rng.integers(1000)))
    assert width(agreed) == pytest.approx(width(once), rel=0.01)
    assert width(fresh) < 0.7 * width(once)


@pytest.mark.slow
def test_intervals_hold_the_truth() -> None:
    strengths = {"a": 2.0, "b": 1.0, "c": 0.5}
    true = {"a": 400 * np.log10(2), "b": 0.0, "c": -400 * np.log10(2)}
    held = []
    for seed in range(60):
        found = bradley_terry(round_robin(strengths, 25, seed=100 * seed))["subjects"]
        held += [low <= 1000 + true[name] <= high for name in true for low, high in [found[name]["interval"]]]
    assert np.mean(held) >= 0.91  # 180 intervals of 95 %, three standard errors of 60 draws below


def test_no_scale_without_three_subjects_or_between_groups_that_never_met() -> None:
    assert bradley_terry([]) is None
    assert bradley_terry(verdicts(always_first, 10)) is None
    apart = verdicts(always_first, 10, pair=("a", "b")) + verdicts(always_first, 10, pair=("c", "d"))
    assert bradley_terry(apart) is None
    bridge = verdicts(always_first, 10, pair=("b", "c"))
    assert set(bradley_terry(apart + bridge)["order"]) == set("abcd")


def test_the_control_takes_no_part() -> None:
    rows = round_robin({"a": 2.0, "b": 1.0, "c": 1.0}, 20)
    assert bradley_terry(rows + verdicts(says(["first"] * 20), 20, pair=("a", "a"))) == bradley_terry(rows)
