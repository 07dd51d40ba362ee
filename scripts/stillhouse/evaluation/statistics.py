"""Means and rates with intervals that respect the design: answers to one prompt are not independent.

A mean is over observations, its interval over prompts (`intervals.py`). Nothing here draws random numbers.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.figures import DIGITS, rounded
from stillhouse.evaluation.intervals import Clusters, Interval, bounded_interval, group, t_factor, t_interval

LEVEL = 0.95
LARGE = 2000
"""Above so many different magnitudes a permutation test takes its normal limit."""
SHARE = (0.0, 1.0)
"""Bounds of a share."""
UNSEEN, UNSEEN_GRADED = 1.0, 0.5
"""Unseen prompts that an interval allows for, of a share and of scores or differences (see `estimate`)."""
POINTS = {"first": 1.0, "tie": 0.5, "second": 0.0}

Observations = Iterable[tuple[Hashable, float]]
"""(prompt, value) of each observation; prompts are told apart by equality."""
Judged = Iterable[tuple[Hashable, str | None, float]]
"""(prompt, judge, value) of each observation; None where it is no judge's."""
Bounds = tuple[float, float]
"""Lowest and highest value that an observation can have."""


@dataclass(frozen=True)
class Estimate:
    """A mean over observations. `n` counts observations, `prompts` their clusters.

    `deviation` is the standard deviation of one prompt, from which power follows: the variance of the mean is its
    square over the number of prompts. It is None where there is no interval.
    """

    mean: float | None
    interval: list[float] | None
    n: int
    prompts: int
    deviation: float | None = None

    def plain(self) -> dict[str, Any]:
        """As report.json has it."""
        return {"mean": self.mean, "interval": self.interval, "n": self.n, "prompts": self.prompts}


def ends(interval: Interval) -> list[float]:
    """Both ends as report.json has them."""
    return [round(float(end), DIGITS) + 0.0 for end in (interval.low, interval.high)]


def finite(values: Sequence[float]) -> np.ndarray:
    """The values as an array; raises `EvaluationError` where one is no finite number."""
    array = np.asarray(values, float)
    if not np.isfinite(array).all():
        raise EvaluationError("a score is not a finite number: no mean can be told")
    return array


def estimate(observations: Observations, *, bounds: Bounds | None = None, level: float = LEVEL) -> Estimate:
    """Mean over the observations (sum over n) with an interval clustered by prompt; none below two prompts.

    With `bounds` the interval is `bounded_interval`; pass them wherever they are known. Values outside widen them. In
    simulations of 12 to 150 prompts with 1 to 6 observations each (wins, capped markers, skewed rubric scores, unequal
    numbers of answers, correlation within a prompt up to 0.9; benchmarks/coverage.py) it covered 94 % at least where
    95 % were asked for. A share between 0 and 1 is given a whole unseen prompt, for its values are mostly at the
    bounds and few in kind; half of one is enough for scores of a longer scale, which rarely are.

    Without bounds it is the cluster-robust t interval, which under-covers for skewed values of few prompts and has no
    width where all prompts agree. Raises `EvaluationError` for what is no finite number.
    """
    told = list(observations)
    if not told:
        return Estimate(None, None, 0, 0)
    values = finite([value for _, value in told])
    clusters = group([prompt for prompt, _ in told], values)
    if clusters.number < 2:
        return Estimate(rounded(clusters.mean), None, len(told), clusters.number)
    wide = bounds and (min(bounds[0], float(values.min())), max(bounds[1], float(values.max())))
    if wide and wide[0] < wide[1]:
        unseen = UNSEEN if wide == SHARE else UNSEEN_GRADED
        found = bounded_interval(clusters, wide, level, unseen=unseen)
    else:
        found = t_interval(clusters, level)
    return Estimate(rounded(clusters.mean), ends(found), len(told), clusters.number, clusters.deviation)


def paired_difference(
    first: Observations, second: Observations, *, bounds: Bounds | None = None, level: float = LEVEL
) -> Estimate:
    """Mean over the prompts that both have of the prompts' mean of first minus that of second; `n` counts prompts.

    `bounds` are those of one side, so that no difference is larger than their distance. Without them the largest
    difference seen, either way, takes their place, and the spread is widened as Student's t widens the normal one.
    Half an unseen prompt is enough here, in simulations as for `estimate`: the bounds are twice as far.
    """
    differences = finite(prompt_differences(first, second))
    if len(differences) < 2:
        return Estimate(mean(differences), None, len(differences), len(differences))
    clusters = Clusters(differences, np.ones(len(differences)))
    widest = float(np.abs(differences).max())
    if bounds is not None:
        widest = max(widest, bounds[1] - bounds[0])
    if widest == 0:  # nothing differs and no bounds say what an unseen prompt may do: not the certainty of [0, 0]
        return Estimate(rounded(clusters.mean), None, clusters.number, clusters.number, clusters.deviation)
    factor = t_factor(clusters, level) if bounds is None else 1.0
    found = bounded_interval(clusters, (-widest, widest), level, unseen=UNSEEN_GRADED, factor=factor)
    return Estimate(rounded(clusters.mean), ends(found), clusters.number, clusters.number, clusters.deviation)


def matched(first: Judged, second: Judged) -> tuple[list[tuple[Hashable, float]], list[tuple[Hashable, float]]]:
    """Both sides' observations (prompt, mean) of the cells (prompt, judge) that both have, in the order of first.

    Judges differ in their level. Were each side's mean taken over the judges that happened to give it a score, a missing
    verdict would move it towards the others' level, and two equal subjects would differ. What no judge gave has None for
    a judge, so that its cells are prompts.
    """
    mine, theirs = (_means(((prompt, judge), value) for prompt, judge, value in side) for side in (first, second))
    cells = [cell for cell in mine if cell in theirs]
    one, other = ([(cell[0], side[cell]) for cell in cells] for side in (mine, theirs))
    return one, other


def prompt_differences(first: Observations, second: Observations) -> list[float]:
    """First's mean minus second's for every prompt that both have, in the order of first."""
    mine, theirs = _means(first), _means(second)
    return [mine[prompt] - theirs[prompt] for prompt in mine if prompt in theirs]


def _means(observations: Observations) -> dict[Hashable, float]:
    values: dict[Hashable, list[float]] = defaultdict(list)
    for prompt, value in observations:
        values[prompt].append(value)
    return {prompt: math.fsum(of) / len(of) for prompt, of in values.items()}


def sign_test(wins: int, losses: int) -> float | None:
    """Two-sided p of the exact sign test: how often a fair coin is as far from one half; None without a decided one.

    It holds for a handful of prompts too, where a bootstrap of equal outcomes has no width.
    """
    return rounded(float(stats.binomtest(wins, wins + losses).pvalue)) if wins + losses else None


def mean(values: Sequence[float]) -> float | None:
    """Plain mean, None of nothing."""
    return rounded(float(np.mean(values))) if len(values) else None


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample, None below two values."""
    return rounded(float(np.std(values, ddof=1))) if len(values) > 1 else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho; None below three pairs or where one side is constant."""
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return rounded(float(stats.spearmanr(first, second).statistic))


Row = dict[str, Any]
Comparison = dict[str, list[Row]]
"""The verdicts of one comparison by order."""


def comparisons(verdicts: Iterable[Row]) -> list[list[Comparison]]:
    """Verdicts, given or not: by question, then by comparison, then by order; questions and comparisons sorted.

    A question is one judge's, of one line of one prompt's answers of one sample: recorded lines of different ids are
    different questions, although their prompts may have one text. A comparison is one repeat of it. Rows without the
    columns `id`, `sample` and `repeat` have one of each.
    """
    asked: dict[tuple[Any, ...], dict[int, Comparison]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in verdicts:
        question = (
            row["first"], row["second"], row["set"], row["prompt_id"], row.get("id") or "", row.get("sample") or 0,
            row["judge"] or "",
        )  # fmt: skip
        asked[question][row.get("repeat") or 0][row["order"]].append(row)
    return [[repeats[repeat] for repeat in sorted(repeats)] for _, repeats in sorted(asked.items())]


def in_both_orders(orders: Comparison) -> list[tuple[Row, Row]]:
    """(shown first_second, shown second_first) of one comparison, as far as both have a verdict."""
    pairs = zip(orders.get("first_second", ()), orders.get("second_first", ()), strict=False)
    return [(one, other) for one, other in pairs if one["verdict"] is not None and other["verdict"] is not None]


def complete_pairs(verdicts: Iterable[Row]) -> list[tuple[Row, Row]]:
    """`in_both_orders` of every comparison: one order alone would carry the judge's taste for a place into the rate."""
    return [pair for repeats in comparisons(verdicts) for orders in repeats for pair in in_both_orders(orders)]
