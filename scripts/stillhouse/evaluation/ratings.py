"""Ratings of more than two subjects out of their comparisons, with intervals that respect the prompts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from evalica import Winner
from evalica import bradley_terry as fit
from pandas import Index
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.intervals import Interval
from stillhouse.evaluation.pairs import usable
from stillhouse.evaluation.statistics import LEVEL, POINTS, ends

MEAN, TENFOLD = 1000.0, 400.0
"""Mean rating, and the points that ten to one is worth, as in chess (Elo 1978)."""
DRAWS, SEED, AT_ONCE = 1000, 7, 2_000_000
FEWEST = 3
UNSEEN = 0.5  # prompts won by each of a pair beside their own, as in Jeffreys' prior
TOLERANCE, LIMIT = 1e-9, 10_000


@dataclass(frozen=True)
class _Results:
    """Points by prompt (rows) and contest (columns): every pair of subjects twice, once for each winner."""

    subjects: list[str]
    contests: list[tuple[str, str]]
    points: np.ndarray

    @property
    def unseen(self) -> np.ndarray:
        """By contest, the points of a prompt that its first subject wins throughout."""
        by_pair = self.points[:, 0::2] + self.points[:, 1::2]
        return np.repeat(by_pair.sum(axis=0) / (by_pair > 0).sum(axis=0), 2)


def bradley_terry(rows: Sequence[dict[str, Any]], *, level: float = LEVEL) -> dict[str, Any] | None:
    """Bradley-Terry ratings of all subjects in the rows, best first: order, and rating, interval, place by subject.

    Rows are those of pairwise.parquet for all pairs; a tie is half a win for each (Bradley and Terry 1952; solved by
    evalica). The scale is Elo's with mean 1000: 400 points are ten to one. Every pair that was compared has half an
    unseen prompt won by each of the two beside its own, so that one who wins always has a finite rating.

    The intervals are quantiles over 1,000 seeded draws of random weights on the prompts and on the unseen ones (the
    Bayesian bootstrap, Rubin 1981), never over single verdicts: those of one prompt are not independent. For two
    subjects with one verdict a prompt this is Jeffreys' interval. None with fewer than three subjects, or where the
    comparisons fall apart into groups that never met: no scale is common to them.
    """
    kept = [row for row in usable(rows).rows if row["first"] != row["second"]]
    pairs = sorted({tuple(sorted((row["first"], row["second"]))) for row in kept})
    subjects = sorted({name for pair in pairs for name in pair})
    if len(subjects) < FEWEST or not _connected(pairs, subjects):
        return None
    results = _results(kept, pairs, subjects)
    ratings = _ratings(results, results.points.sum(axis=0) + UNSEEN * results.unseen)
    drawn = np.array([_ratings(results, points) for points in _draws(results)])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    order = sorted(range(len(subjects)), key=lambda number: (-ratings[number], subjects[number]))
    return {
        "order": [subjects[number] for number in order],
        "subjects": {
            subjects[number]: {
                "rating": rounded(ratings[number]),
                "interval": ends(Interval(low[number], high[number])),
                "place": place,
            }
            for place, number in enumerate(order, 1)
        },
    }


def _connected(pairs: list[tuple[str, ...]], subjects: list[str]) -> bool:
    """Whether every subject can be reached from every other by comparisons."""
    ones, others = (np.array([subjects.index(pair[side]) for pair in pairs]) for side in (0, 1))
    met = coo_array((np.ones(len(pairs)), (ones, others)), shape=(len(subjects), len(subjects)))
    return connected_components(met, directed=False, return_labels=False) == 1


def _results(rows: list[dict[str, Any]], pairs: list[tuple[str, ...]], subjects: list[str]) -> _Results:
    contests = [contest for one, other in pairs for contest in ((one, other), (other, one))]
    columns = {contest: place for place, contest in enumerate(contests)}
    prompts: dict[str, int] = {}
    for row in rows:
        prompts.setdefault(row["prompt_id"], len(prompts))
    points = np.zeros((len(prompts), len(contests)))
    for row in rows:
        won = POINTS[row["verdict"]]
        place = prompts[row["prompt_id"]]
        points[place, columns[row["first"], row["second"]]] += won
        points[place, columns[row["second"], row["first"]]] += 1 - won
    return _Results(subjects, contests, points)


def _ratings(results: _Results, points: np.ndarray) -> np.ndarray:
    """By subject, from the points of each contest."""
    winners, losers = zip(*results.contests, strict=True)
    scores = fit(
        winners,
        losers,
        [Winner.X] * len(winners),
        index=Index(results.subjects),
        weights=points,
        tolerance=TOLERANCE,
        limit=LIMIT,
    ).scores
    strengths = np.array([math.log10(scores[name]) for name in results.subjects])
    return MEAN + TENFOLD * (strengths - strengths.mean())


def _draws(results: _Results) -> Iterator[np.ndarray]:
    """Points of each contest under random weights on the prompts and on the unseen ones."""
    rng = np.random.default_rng(SEED)
    prompts = len(results.points)
    step = max(AT_ONCE // prompts, 1)
    for start in range(0, DRAWS, step):
        many = min(step, DRAWS - start)
        seen = rng.standard_exponential((many, prompts)) @ results.points
        yield from seen + rng.gamma(UNSEEN, size=(many, len(results.contests))) * results.unseen
