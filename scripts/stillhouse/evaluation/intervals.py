"""Intervals of a mean whose observations come in clusters: the answers to one prompt are not independent.

Which interval holds was decided by simulation: `benchmarks/coverage.py` prints the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from scipy import stats

NOTHING = 1e-12
"""A mean that is nearer to its bound is there, but for rounding."""


@dataclass(frozen=True)
class Interval:
    """Two ends of an interval."""

    low: float
    high: float

    def scaled(self, shift: float, factor: float) -> "Interval":
        """Both ends times the factor, plus the shift."""
        return Interval(shift + factor * self.low, shift + factor * self.high)


@dataclass(frozen=True)
class Clusters:
    """Sum and number of the observations of each prompt, two prompts at least; their mean is the ratio of sums."""

    sums: np.ndarray
    sizes: np.ndarray

    @property
    def number(self) -> int:
        """Number of prompts."""
        return len(self.sums)

    @cached_property
    def mean(self) -> float:
        """Mean over the observations."""
        return float(self.sums.sum() / self.sizes.sum())

    @cached_property
    def effective(self) -> float:
        """Number of prompts of equal size that would weigh as these do (Kish 1965): (sum of n)^2 / sum of n^2."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    @cached_property
    def variance(self) -> float:
        """Variance of the mean, prompts being independent and their observations not (CR2; Bell and McCaffrey 2002)."""
        total = self.sizes.sum()
        residuals = self.sums - self.mean * self.sizes
        return float((residuals**2 / (1 - self.sizes / total)).sum() / total**2)

    @property
    def deviation(self) -> float:
        """Standard deviation of one prompt: the variance is its square over the number of prompts."""
        return float(np.sqrt(self.variance * self.number))

    def moved(self, low: float, high: float) -> "Clusters":
        """The same on a scale on which `low` is 0 and `high` 1."""
        return Clusters((self.sums - low * self.sizes) / (high - low), self.sizes)


def t_interval(clusters: Clusters, level: float) -> Interval:
    """Mean and t quantile times its cluster-robust error, one degree of freedom less than effective prompts."""
    half = t_quantile(clusters, level) * np.sqrt(clusters.variance)
    return Interval(clusters.mean - half, clusters.mean + half)


def t_quantile(clusters: Clusters, level: float) -> float:
    """Quantile of Student's t for a two-sided interval."""
    return float(stats.t.ppf((1 + level) / 2, max(clusters.effective - 1, 1.0)))


def t_factor(clusters: Clusters, level: float) -> float:
    """How much wider Student's t is than the normal distribution."""
    return t_quantile(clusters, level) / float(stats.norm.ppf((1 + level) / 2))


def bounded_interval(
    clusters: Clusters, bounds: tuple[float, float], level: float, *, unseen: float = 1.0, factor: float = 1.0
) -> Interval:
    """Interval of a mean of values that cannot leave `bounds`.

    Each end is a quantile of the mean under random (Dirichlet) weights on the prompts and on one unseen prompt at that
    end's bound, approximated by a Beta distribution of the same mean and variance. With one verdict a prompt these
    are exactly the limits of Clopper and Pearson (1934); their extension to bounded values is Gaffke's (2005; see
    Learned-Miller and Thomas 2019). Prompts of several observations enter by their robust variance and effective
    number. Where all prompts agree there is still a width: twelve wins of twelve do not show that nobody ever loses.

    `unseen` takes another number of unseen prompts, `factor` widens the spread.
    """
    low, high = bounds
    unit = clusters.moved(low, high)
    tail = (1 - level) / 2
    ends = [_quantile(unit, bound, share, unseen, factor) for bound, share in ((0.0, tail), (1.0, 1 - tail))]
    return Interval(min(ends[0], unit.mean), max(ends[1], unit.mean)).scaled(low, high - low)


def _quantile(unit: Clusters, bound: float, share: float, unseen: float, factor: float) -> float:
    """Quantile of the randomly weighted mean, with so many unseen prompts at `bound` (0 or 1)."""
    prompts = unit.effective
    total = prompts + unseen
    mean = (prompts * unit.mean + unseen * bound) / total
    if not NOTHING < mean < 1 - NOTHING:
        return bound
    spread = prompts * (prompts - 1) * unit.variance + prompts * (unit.mean - mean) ** 2 + unseen * (bound - mean) ** 2
    variance = factor**2 * spread / (total * (total + 1))
    # a Beta with so many observations; never none, which a factor on a handful of prompts could ask for
    strength = max(mean * (1 - mean) / variance - 1, 1e-3)
    return float(stats.beta.ppf(share, mean * strength, (1 - mean) * strength))


def group(prompts: Sequence[object], values: np.ndarray) -> Clusters:
    """Observations by prompt, in the order in which the prompts first come."""
    places: dict[object, int] = {}
    codes = np.fromiter((places.setdefault(prompt, len(places)) for prompt in prompts), int, len(prompts))
    sums = np.bincount(codes, weights=values, minlength=len(places))
    return Clusters(sums, cast(np.ndarray, np.bincount(codes, minlength=len(places))).astype(float))
