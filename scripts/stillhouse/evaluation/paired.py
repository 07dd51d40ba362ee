"""Tests of paired comparisons, and Holm's correction over the comparisons of one report."""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.statistics import LARGE, finite, sign_test

EXACT = 14
"""Up to so many differences that are not zero, every assignment of signs is counted."""
DRAWS, SEED = 20_000, 7
AT_ONCE = 4_000_000  # signs held in memory at a time


def permutation_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the sign-flip test: how often random signs give a sum as far from zero (Fisher 1935).

    One difference a prompt, so that the test is clustered by prompt. Exact up to 2^14 assignments and where all
    magnitudes are equal (the sign test; of yes and no it is McNemar's exact one), else 20,000 seeded draws, the data
    counting as one more so that p is never zero; with more than `LARGE` different magnitudes the normal limit. The order of the differences does not matter.
    None without any, 1 where all are zero. Raises `EvaluationError` for what is no finite number.
    """
    if not len(differences):
        return None
    values = finite(differences)
    # a sum that differs in its last bits only is as far
    observed = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    magnitudes = np.abs(values[values != 0])
    if not len(magnitudes):
        return 1.0
    if len(magnitudes) <= EXACT:
        return rounded(float((np.abs(_all_sums(magnitudes)) >= observed).mean()))
    levels, counts = np.unique(magnitudes, return_counts=True)
    if len(levels) == 1:
        return sign_test(int((values > 0).sum()), int((values < 0).sum()))
    if len(levels) > LARGE:
        return rounded(float(2 * stats.norm.sf(abs(values.sum()) / np.sqrt((values**2).sum()))))
    reached = int((np.abs(_random_sums(levels, counts)) >= observed).sum())
    return rounded((reached + 1) / (DRAWS + 1))


def _all_sums(magnitudes: np.ndarray) -> np.ndarray:
    """The sums under all assignments of signs."""
    sums = np.zeros(1)
    for magnitude in magnitudes:
        sums = np.concatenate([sums - magnitude, sums + magnitude])
    return sums


def _random_sums(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums under random signs; of k equal magnitudes the number of pluses is binomial, of one it is a bit."""
    rng = np.random.default_rng(SEED)
    sums = np.zeros(DRAWS)
    for level, count in zip(levels[counts > 1], counts[counts > 1], strict=True):
        sums += level * (2 * rng.binomial(count, 0.5, DRAWS) - count)
    single = levels[counts == 1]
    step = AT_ONCE // DRAWS
    for start in range(0, len(single), step):
        some = single[start : start + step]
        pluses = np.unpackbits(rng.integers(0, 256, (DRAWS, -(-len(some) // 8)), np.uint8), axis=1, count=len(some))
        sums += 2 * (pluses @ some) - some.sum()
    return sums


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number after Holm (1979), in the order given; None stays None and does not count."""
    told = [p for p in ps if p is not None]
    if not told:
        return [None] * len(ps)
    corrected = iter(multipletests(told, method="holm")[1])
    return [None if p is None else rounded(float(next(corrected))) for p in ps]
