"""Permutation and Holm against scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from stillhouse.evaluation.paired import holm, permutation_p
from stillhouse.evaluation.statistics import LARGE

RNG = np.random.default_rng(4)
CASES = {
    "few": RNG.normal(0.5, 1, 9),
    "verdicts": RNG.choice([-1.0, -0.5, 0.0, 0.5, 1.0], 40, p=[0.1, 0.1, 0.3, 0.2, 0.3]),
    "scores": RNG.normal(0.3, 1, 60),
    "no difference": RNG.normal(0, 1, 30),
}


def of_scipy(values: np.ndarray) -> float:
    found = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=50_000, rng=np.random.default_rng(1)
    )
    return float(found.pvalue)


@pytest.mark.parametrize("name", CASES)
def test_permutation_against_scipy(name: str) -> None:
    values = CASES[name]
    expected = of_scipy(values)
    exact = len(values) < 15
    assert permutation_p(list(values)) == pytest.approx(expected, abs=1e-6 if exact else 0.012)


def test_permutation_knows_neither_order_nor_sign() -> None:
    values = CASES["verdicts"]
    assert permutation_p(list(values)) == permutation_p(list(values[::-1])) == permutation_p(list(-values))


def test_equal_magnitudes_are_the_sign_test() -> None:
    values = [1.0] * 27 + [-1.0] * 13 + [0.0] * 5
    assert permutation_p(values) == pytest.approx(stats.binomtest(27, 40).pvalue, abs=1e-6)


def test_permutation_of_nothing_of_zeros_and_of_one() -> None:
    assert permutation_p([]) is None
    assert permutation_p([0.0, 0.0]) == 1.0
    assert permutation_p([3.0]) == 1.0


def test_rounding_errors_do_not_make_a_sum_smaller() -> None:
    """0.1 + 0.2 and its like: the assignment that was seen is always among those as far."""
    values = [0.1, 0.2, 0.3, 0.1, 0.7]
    assert permutation_p(values) == pytest.approx(2 / 32, abs=1e-6)


def test_the_normal_limit_continues_the_draws() -> None:
    values = np.random.default_rng(6).normal(0.03, 1, LARGE + 1)
    below, above = permutation_p(list(values[:LARGE])), permutation_p(list(values))
    assert above == pytest.approx(below, abs=0.02)


def test_permutation_holds_its_level() -> None:
    rng = np.random.default_rng(8)
    ps = [permutation_p(list(rng.choice([-1.0, -0.5, 0.5, 1.0], 12))) for _ in range(800)]
    assert np.mean([p < 0.05 for p in ps]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 800)


@pytest.mark.parametrize(("wins", "losses"), [(9, 2), (0, 6), (5, 5), (20, 9)])
def test_of_yes_and_no_it_is_mcnemars_test(wins: int, losses: int) -> None:
    expected = mcnemar([[3, wins], [losses, 7]], exact=True).pvalue
    assert permutation_p([1.0] * wins + [-1.0] * losses + [0.0] * 10) == pytest.approx(expected, abs=1e-6)


def test_holm_against_statsmodels_and_by_hand() -> None:
    ps = [0.01, 0.04, 0.03, 0.005]
    assert holm(ps) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    many = list(np.random.default_rng(2).uniform(0, 0.2, 25))
    assert holm(many) == pytest.approx(list(multipletests(many, method="holm")[1]), abs=1e-6)


def test_holm_passes_over_what_was_not_tested() -> None:
    assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert holm([None]) == [None]
    assert holm([]) == []
