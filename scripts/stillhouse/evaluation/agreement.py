"""Whether judges agree: Krippendorff's alpha with an interval over prompts."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from evalica import alpha as krippendorff
from pandas import DataFrame

from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.intervals import Interval, group
from stillhouse.evaluation.statistics import LEVEL, ends

DRAWS, SEED, AT_ONCE = 1000, 7, 2_000_000

Measure = Literal["nominal", "interval"]
Ratings = Mapping[str, Any]
"""A value by judge."""


def pairwise_agreement(rows: Sequence[dict[str, Any]], *, level: float = LEVEL) -> dict[str, Any] | None:
    """`agreement` of the judges' verdicts, rows as in pairwise.parquet; a unit is one comparison in one order."""
    columns = ("first", "second", "set", "prompt_id", "id", "sample", "repeat", "order")
    given = ((row, row["verdict"]) for row in rows if row["verdict"] is not None)
    return _agreement_of(given, columns, "nominal", level)


def rubric_agreement(rows: Sequence[dict[str, Any]], *, level: float = LEVEL) -> dict[str, Any] | None:
    """`agreement` of the judges' recomputed scores, rows as in rubric.parquet; a unit is one answer in one repeat."""
    columns = ("subject", "set", "prompt_id", "id", "sample", "repeat")
    given = ((row, row["overall"]) for row in rows if row["status"] == "scored")
    return _agreement_of(given, columns, "interval", level)


def _agreement_of(
    given: Iterable[tuple[dict[str, Any], Any]], columns: tuple[str, ...], measure: Measure, level: float
) -> dict[str, Any] | None:
    units: dict[Hashable, dict[str, Any]] = defaultdict(dict)
    prompts: dict[Hashable, Hashable] = {}
    for row, value in given:
        unit = tuple(row.get(column) for column in columns)
        units[unit][row["judge"]] = value
        prompts[unit] = row["prompt_id"]
    return agreement(units, measure, prompts=prompts, level=level)


def agreement(
    units: Mapping[Hashable, Ratings],
    measure: Measure,
    *,
    prompts: Mapping[Hashable, Hashable] | None = None,
    level: float = LEVEL,
) -> dict[str, Any] | None:
    """alpha, interval, n and judges: Krippendorff's alpha (2018) of the judges' values, `nominal` or `interval`.

    1 is agreement, 0 what chance would give, less is worse than chance. `n` counts the units that two judges or more
    have valued; None without one. The interval is of quantiles over 1,000 seeded draws of random weights on the
    prompts (the Bayesian bootstrap, Rubin 1981); `prompts` says which units share one, without it each unit stands
    alone. alpha is None where all values are the same, for then nothing could have been told apart, and the
    interval below two prompts.
    """
    valued = {unit: values for unit, values in units.items() if len(values) > 1}
    if not valued:
        return None
    judges = sorted({judge for values in valued.values() for judge in values})
    told = {"n": len(valued), "judges": judges}
    table = _table(valued, judges, measure)
    if len(np.unique(table[~np.isnan(table)])) < 2:
        return {"alpha": None, "interval": None, **told}
    shares = _shares(table, [prompts[unit] if prompts else unit for unit in valued], measure)
    interval = None if len(shares.totals) < 2 else ends(_interval(shares, level))
    return {"alpha": rounded(krippendorff(DataFrame(table), measure).alpha), "interval": interval, **told}


def _table(units: Mapping[Hashable, Ratings], judges: Sequence[str], measure: Measure) -> np.ndarray:
    """Judges by units, NaN for none; nominal values as numbers in the order in which they come."""
    codes: dict[Any, int] = {}
    table = np.full((len(judges), len(units)), np.nan)
    places = {judge: place for place, judge in enumerate(judges)}
    for unit, ratings in enumerate(units.values()):
        for judge, value in ratings.items():
            table[places[judge], unit] = codes.setdefault(value, len(codes)) if measure == "nominal" else value
    return table


@dataclass(frozen=True)
class _Shares:
    """What each prompt adds to alpha: disagreement within units, numbers of values, and what the measure sums."""

    observed: np.ndarray
    totals: np.ndarray
    sums: np.ndarray
    measure: Measure

    def alphas(self, weights: np.ndarray) -> np.ndarray:
        """alpha for each row of weights on the prompts."""
        observed, totals, sums = weights @ self.observed, weights @ self.totals, weights @ self.sums
        if self.measure == "nominal":
            expected = totals**2 - (sums**2).sum(axis=1)
        else:
            expected = 2 * (totals * sums[:, 1] - sums[:, 0] ** 2)
        return 1 - (totals - 1) * observed / expected


def _shares(table: np.ndarray, prompts: Sequence[Hashable], measure: Measure) -> _Shares:
    """The coincidences of each prompt; all of alpha's sums are linear in them."""
    numbers = (~np.isnan(table)).sum(axis=0)
    if measure == "nominal":
        sums = np.stack([(table == value).sum(axis=0) for value in np.unique(table[~np.isnan(table)])], axis=1)
        apart = numbers**2 - (sums**2).sum(axis=1)
    else:
        sums = np.stack([np.nansum(table, axis=0), np.nansum(table**2, axis=0)], axis=1)
        apart = 2 * (numbers * sums[:, 1] - sums[:, 0] ** 2)
    columns = [apart / (numbers - 1), numbers, *sums.T]
    observed, totals, *added = (group(prompts, column).sums for column in columns)
    return _Shares(observed, totals, np.stack(added, axis=1), measure)


def _interval(shares: _Shares, level: float) -> Interval:
    rng = np.random.default_rng(SEED)
    prompts = len(shares.totals)
    step = max(AT_ONCE // prompts, 1)
    alphas = []
    for start in range(0, DRAWS, step):
        weights = rng.standard_exponential((min(step, DRAWS - start), prompts))
        # weights with mean one, so that the number of values stays what it is
        alphas.append(shares.alphas(weights * (prompts / weights.sum(axis=1, keepdims=True))))
    low, high = np.quantile(np.concatenate(alphas), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
