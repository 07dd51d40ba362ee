"""Win rates of pairs: what made-up judges must come to."""

import json
import time
from typing import Any

import numpy as np
import pytest
from scipy import stats
from synthetic_judges import BOTH, always_first, of_rate, says, verdicts, with_garbage

from stillhouse.evaluation.pairs import (
    compare,
    compare_axes,
    compare_by,
    compare_short,
    usable,
    without_judge,
)

ONE = ("first_second",)


def told(found: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(found[name] for name in names)


def test_always_first_gives_exactly_half_and_flips_every_time() -> None:
    found = compare(verdicts(always_first, 20, judges=("i", "j"), repeats=2))
    assert told(found, "rate", "flip_rate", "n", "flip_n", "prompts", "win", "loss") == (0.5, 1.0, 160, 80, 20, 80, 80)
    assert found["p"] == 1.0
    assert found["interval"][0] < 0.5 < found["interval"][1]


def test_counts_ties_and_leaves_out_half_comparisons() -> None:
    rows = verdicts(says(["first", "tie", "first"]), 3)
    rows[-1]["verdict"] = None
    found = compare(rows)
    assert told(found, "win", "tie", "loss", "n", "rate") == (2, 2, 0, 4, 0.75)
    assert told(found, "unscored", "incomplete", "flip_rate", "flip_n", "prompts") == (1, 1, 0.0, 2, 2)


def test_a_recorded_run_in_one_order_counts_as_it_is() -> None:
    """27 of 40 is told with its interval, which is Clopper's and Pearson's, and the p of the exact sign test."""
    found = compare(verdicts(says(["first"] * 27 + ["second"] * 13), 40, orders=ONE))
    assert told(found, "win", "tie", "loss", "n", "rate") == (27, 0, 13, 40, 0.675)
    known = stats.binomtest(27, 40)
    assert found["interval"] == pytest.approx(list(known.proportion_ci()), abs=1e-6)
    assert found["p"] == pytest.approx(known.pvalue, abs=1e-6)
    assert told(found, "flip_rate", "flip_n", "incomplete") == (None, 0, 0)


def test_orders_that_differ_by_prompt_are_no_swap() -> None:
    rows = [row for n, row in enumerate(verdicts(says(["first"] * 10), 10, orders=ONE)) if n < 5]
    rows += verdicts(says(["first"] * 10), 10, orders=("second_first",))[5:]
    found = compare(rows)
    assert told(found, "n", "rate", "flip_rate", "incomplete") == (10, 1.0, None, 0)


def test_samples_judges_and_repeats_are_comparisons_of_their_own() -> None:
    one, other = verdicts(says(["first"]), 1)
    apart = [one, {**other, "sample": 1}, {**one, "judge": "k"}, {**other, "repeat": 1}]
    assert len(usable(apart).both) == 0
    assert len(usable([*apart, other]).both) == 1


def test_a_repeat_without_its_other_order_is_left_out() -> None:
    """Recorded lines in the slots A, A and B: two are a comparison, and the third would carry the taste for a place."""
    one, other = verdicts(says(["first"]), 1)
    found = compare([one, {**one, "repeat": 1}, other])
    assert told(found, "n", "flip_n", "incomplete", "unscored") == (2, 1, 1, 0)
    again = compare([one, {**one, "repeat": 1, "verdict": None}, other])
    assert told(again, "n", "incomplete", "unscored") == (2, 0, 1)


def test_two_ids_of_one_text_in_one_order_each_count_as_they_are() -> None:
    one, other = verdicts(says(["first"]), 1)
    found = compare([{**one, "id": "x"}, {**other, "id": "y", "verdict": "second"}])
    assert told(found, "n", "prompts", "win", "loss", "flip_n", "incomplete") == (2, 1, 1, 1, 0, 0)


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.9])
def test_garbage_leaves_the_rate_unbiased_and_n_smaller(rate: float) -> None:
    def found(share: float, seed: int) -> dict[str, Any]:
        return compare_short(verdicts(with_garbage(of_rate(rate, seed), share, seed + 1000), 200, repeats=2))

    clean, dirty = ([found(share, seed) for seed in range(40)] for share in (0.0, 0.1))
    error = np.std([one["rate"] for one in dirty]) / np.sqrt(len(dirty))
    assert np.mean([one["rate"] for one in dirty]) == pytest.approx(rate, abs=4 * error)
    assert {one["n"] for one in clean} == {800}
    # a comparison is whole nine times in ten, twice
    assert np.mean([one["n"] for one in dirty]) == pytest.approx(800 * 0.81, rel=0.02)


def test_garbage_of_a_judge_that_picks_a_place_cannot_tilt_the_rate() -> None:
    found = compare(verdicts(with_garbage(always_first, 0.1, 3), 200))
    assert found["rate"] == 0.5
    assert found["n"] < 400
    assert found["n"] + found["unscored"] + found["incomplete"] == 400


def test_twelve_wins_of_twelve_do_not_show_certainty() -> None:
    found = compare(verdicts(says(["first"] * 12), 12))
    assert found["rate"] == 1.0
    assert found["interval"] == pytest.approx([0.025 ** (1 / 12), 1.0], abs=1e-6)
    assert found["p"] == pytest.approx(2 / 2**12, abs=1e-6)
    assert told(found, "mde", "prompts_needed") == (None, None)


def test_verdicts_on_one_prompt_do_not_count_as_so_many() -> None:
    rows = verdicts(says(["first"] * 27 + ["second"] * 13), 40, judges="abc", repeats=2)
    found, alone = compare(rows), compare(verdicts(says(["first"] * 27 + ["second"] * 13), 40, orders=ONE))
    assert found["n"] == 480
    assert told(found, "interval", "p") == told(alone, "interval", "p")


def test_power_is_told_of_the_spread_that_was_seen() -> None:
    found = compare(verdicts(says(["first"] * 27 + ["second"] * 13), 40, orders=ONE))
    assert found["mde"] == pytest.approx(2.8 * np.sqrt(0.675 * 0.325 / 40), rel=0.05)
    assert 40 < found["prompts_needed"] < 80
    more = compare(verdicts(says((["first"] * 27 + ["second"] * 13) * 2), 80, orders=ONE))
    assert more["p"] < 0.01
    assert more["prompts_needed"] == pytest.approx(found["prompts_needed"], abs=2)


def test_nothing_usable() -> None:
    for rows in ([], verdicts(says([None, None]), 2)):
        found = compare(rows)
        assert told(found, "n", "prompts", "rate", "interval", "flip_rate", "p") == (0, 0, None, None, None, None)
        assert found["unscored"] == len(rows)


def test_by_judge_by_category_and_without_each_judge() -> None:
    rows = verdicts(says(["first"] * 10), 10, judges=("kind",)) + verdicts(says(["second"] * 10), 10, judges=("stern",))
    by_judge = compare_by(rows, "judge")
    assert {name: found["rate"] for name, found in by_judge.items()} == {"kind": 1.0, "stern": 0.0}
    assert {name: found["n"] for name, found in compare_by(rows, "category").items()} == {"x": 20, "y": 20}
    assert compare_by(rows, "difficulty") == {}
    left = without_judge(rows)
    assert {name: (found["rate"], found["n"]) for name, found in left.items()} == {
        "kind": (0.0, 20),
        "stern": (1.0, 20),
    }
    assert without_judge([row for row in rows if row["judge"] == "kind"]) == {}


def test_axes_have_rates_of_their_own() -> None:
    rows = verdicts(says(["first"] * 4), 4)
    for row in rows:
        row["axes"] = json.dumps({"voice": "second", "use": "first" if row["order"] == BOTH[0] else "tie"})
    del rows[0]["axes"]
    rows[0]["axes"] = json.dumps({"voice": "second"})  # says nothing of use, so the swap says nothing either
    found = compare_axes(rows)
    assert told(found["voice"], "win", "tie", "loss", "n", "rate") == (0, 0, 8, 8, 0.0)
    assert told(found["use"], "win", "tie", "loss", "n", "rate") == (3, 3, 0, 6, 0.75)


def test_a_hundred_thousand_verdicts_take_seconds() -> None:
    rows = verdicts(with_garbage(of_rate(0.55, 1), 0.05, 2), 10_000, judges="abcde")
    started = time.process_time()
    found = compare(rows)
    assert time.process_time() - started < 5
    assert found["n"] + found["unscored"] + found["incomplete"] == 100_000
    assert found["p"] < 0.001
