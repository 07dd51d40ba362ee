"""What a comparison could have shown, against simulation and against itself."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from stillhouse.evaluation.power import detectable, prompts_needed


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    effect = detectable(1.5, 40)
    samples = np.random.default_rng(3).normal(effect, 1.5, (4000, 40))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.02)


def test_prompts_needed_undoes_detectable() -> None:
    for prompts in (5, 40, 1000):
        assert prompts_needed(0.4, detectable(0.4, prompts)) in (prompts, prompts + 1)
    assert prompts_needed(0.4, -0.1) == prompts_needed(0.4, 0.1)


@pytest.mark.parametrize("prompts", [4, 12, 40, 1000])
def test_against_statsmodels(prompts: int) -> None:
    expected = TTestPower().solve_power(nobs=prompts, alpha=0.05, power=0.8)
    assert detectable(2.0, prompts) == pytest.approx(2 * float(expected), rel=1e-4)


def test_a_surer_test_takes_more() -> None:
    assert prompts_needed(0.5, 0.1) < prompts_needed(0.5, 0.1, level=0.99)
    assert prompts_needed(0.5, 0.1) < prompts_needed(0.5, 0.1, power=0.9)
    assert detectable(0.5, 40) < detectable(0.5, 40, power=0.9)


@pytest.mark.parametrize("deviation", [None, 0.0])
def test_nothing_is_said_without_spread(deviation: float | None) -> None:
    assert detectable(deviation, 12) is None
    assert prompts_needed(deviation, 0.5) is None


def test_nothing_is_said_of_no_effect_or_one_prompt() -> None:
    assert detectable(0.5, 1) is None
    assert prompts_needed(0.5, 0.0) is None
    assert prompts_needed(0.5, None) is None
    assert prompts_needed(0.5, 1e-9) is None


def test_two_prompts_need_a_huge_difference() -> None:
    assert detectable(1.0, 2, power=0.99, level=0.999) > detectable(1.0, 3, power=0.99, level=0.999) > 10


def test_a_huge_effect_takes_two() -> None:
    assert prompts_needed(0.001, 5.0) == 2
