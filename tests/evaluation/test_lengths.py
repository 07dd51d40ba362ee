"""Win rates at equal length of judges whose taste for length is known."""

import time
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import special
from statsmodels.api import GLM, families
from synthetic_judges import always_first, lengths, longer_wins, says, verdicts

from stillhouse.evaluation.lengths import FEWEST, length_controlled
from stillhouse.evaluation.pairs import compare_short

ONE = ("first_second",)


def taste(strength: float, at_equal: float, seed: int, spread: float = 180.0) -> Any:
    """A judge with a win rate of `at_equal` at equal length that grows with the difference."""
    rng = np.random.default_rng(seed)

    def judge(prompt: int, order: str, words: tuple[int, int]) -> str:
        logit = special.logit(at_equal) + strength * np.tanh((words[0] - words[1]) / spread)
        return "first" if rng.random() < special.expit(logit) else "second"

    return judge


@pytest.mark.parametrize(("prompts", "near"), [(40, 0.25), (150, 0.13), (2000, 0.06)])
def test_a_judge_that_takes_the_longer_answer_is_near_one_half(prompts: int, near: float) -> None:
    """Length decides every verdict; the plain rate is what the lengths make it."""
    found, plain = [], []
    for seed in range(6):
        rows = verdicts(longer_wins, prompts, words=lengths(prompts, seed, ratio=1.3))
        plain.append(compare_short(rows)["rate"])
        found.append(length_controlled(rows))
    assert fmean(plain) > 0.6
    assert [one["rate"] for one in found] == pytest.approx([0.5] * 6, abs=near)
    assert fmean(one["rate"] for one in found) == pytest.approx(0.5, abs=0.05)
    assert sum(one["interval"][0] < 0.5 < one["interval"][1] for one in found) >= 5


def test_the_more_the_lengths_differ_the_less_is_known_at_equal_length() -> None:
    """Answers 1.8 times as long: most of the advantage goes, and what is left is within the interval or nearly so."""
    for seed in range(6):
        rows = verdicts(longer_wins, 1000, words=lengths(1000, seed, ratio=1.8))
        found, plain = length_controlled(rows), compare_short(rows)["rate"]
        assert plain > 0.73
        assert abs(found["rate"] - 0.5) < 0.35 * (plain - 0.5)
        assert found["interval"][0] < 0.53


def test_a_judge_without_that_taste_keeps_its_rate() -> None:
    rows = verdicts(taste(0.0, 0.7, 2), 400, words=lengths(400, 2, ratio=1.5))
    found, plain = length_controlled(rows), compare_short(rows)
    assert found["rate"] == pytest.approx(plain["rate"], abs=0.03)
    assert found["n"] == plain["n"] == 800


def test_the_rate_at_equal_length_is_found_again() -> None:
    rows = verdicts(taste(2.0, 0.4, 5), 1500, words=lengths(1500, 5, ratio=1.6), orders=ONE)
    assert compare_short(rows)["rate"] > 0.5
    found = length_controlled(rows)
    assert found["rate"] == pytest.approx(0.4, abs=0.04)
    assert found["interval"][0] < 0.4 < found["interval"][1] < 0.5


def test_with_much_data_the_penalties_are_nothing() -> None:
    """The same model, fitted by statsmodels without a penalty, with its cluster-robust error."""
    words = lengths(3000, 7, ratio=1.2)
    rows = verdicts(taste(1.0, 0.6, 7), 3000, words=words, orders=ONE, repeats=2)
    apart = np.array([row["first_words"] - row["second_words"] for row in rows], float)
    design = np.stack([np.ones(len(rows)), np.tanh(apart / np.sqrt((apart**2).mean()))], axis=1)
    won = np.array([row["verdict"] == "first" for row in rows], float)
    groups = np.array([int(row["prompt_id"]) for row in rows])
    fitted = GLM(won, design, families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = length_controlled(rows)
    assert found["rate"] == pytest.approx(special.expit(fitted.params[0]), abs=0.002)
    low, high = special.expit(fitted.params[0] + np.array([-1.96, 1.96]) * fitted.bse[0])
    assert found["interval"] == pytest.approx([low, high], abs=0.004)


def test_always_first_stays_at_one_half() -> None:
    found = length_controlled(verdicts(always_first, 60, words=lengths(60, 1)))
    assert found["rate"] == pytest.approx(0.5, abs=1e-6)
    assert found["interval"][0] < 0.5 < found["interval"][1]


@pytest.mark.parametrize("verdict", ["first", "second", "tie"])
def test_verdicts_that_are_all_alike(verdict: str) -> None:
    found = length_controlled(verdicts(says([verdict] * 40), 40, words=lengths(40, 3)))
    expected = {"first": 1.0, "second": 0.0, "tie": 0.5}[verdict]
    low, high = found["interval"]
    assert found["rate"] == pytest.approx(expected, abs=0.05)
    assert 0 < low < found["rate"] < high < 1


def test_answers_of_one_length_give_the_plain_rate() -> None:
    rows = verdicts(says(["first"] * 30 + ["second"] * 10), 40)
    assert length_controlled(rows)["rate"] == pytest.approx(0.75, abs=0.01)


def test_nothing_is_said_where_nothing_can_be_told() -> None:
    few = verdicts(longer_wins, FEWEST - 1, words=lengths(FEWEST - 1, 1))
    assert length_controlled(few) is None
    assert length_controlled([]) is None
    unknown = [{**row, "second_words": None} for row in verdicts(longer_wins, 40, words=lengths(40, 1))]
    assert length_controlled(unknown) is None


def test_a_subject_that_is_always_longer_cannot_be_told_from_its_length() -> None:
    rows = verdicts(longer_wins, 200, words=lengths(200, 1, ratio=60))
    assert compare_short(rows)["rate"] == 1.0
    assert length_controlled(rows) is None


def test_huge_answers_do_no_harm() -> None:
    words = [(10**9, 1) if n == 0 else pair for n, pair in enumerate(lengths(60, 1))]
    found = length_controlled(verdicts(longer_wins, 60, words=words))
    assert 0 < found["interval"][0] < found["rate"] < found["interval"][1] < 1


def test_a_hundred_thousand_verdicts_take_seconds() -> None:
    rows = verdicts(longer_wins, 10_000, judges="abcde", words=lengths(10_000, 1))
    started = time.process_time()
    assert length_controlled(rows)["n"] == 100_000
    assert time.process_time() - started < 5
