"""What the verdicts on one pair of subjects come to: win, tie, loss, the rate and its interval.

Rows are those of pairwise.parquet. The rate is (win + tie / 2) / n of the pair's first subject over usable verdicts.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from stillhouse.evaluation.paired import permutation_p
from stillhouse.evaluation.power import POWER, detectable, prompts_needed
from stillhouse.evaluation.statistics import (
    LEVEL,
    POINTS,
    SHARE,
    Estimate,
    comparisons,
    estimate,
    in_both_orders,
    mean,
)

Row = dict[str, Any]
EVEN = POINTS["tie"]


@dataclass(frozen=True)
class Usable:
    """The verdicts that count, and how many do not.

    `both` holds those of them that came in two orders, in pairs. `unscored` counts rows without a verdict,
    `incomplete` verdicts left out because the other order has none.
    """

    rows: list[Row]
    both: list[tuple[Row, Row]]
    unscored: int
    incomplete: int

    @property
    def flips(self) -> list[float]:
        """1 where the two orders disagree, else 0."""
        return [float(one["verdict"] != other["verdict"]) for one, other in self.both]


def usable(rows: Sequence[Row]) -> Usable:
    """Which verdicts count.

    A judge's question that was asked in both orders counts by repeats that have a verdict in both: one order alone would
    carry the judge's taste for a place. One that was asked in one order only, as in recorded runs, counts as it is.
    """
    kept: list[Row] = []
    both: list[tuple[Row, Row]] = []
    for repeats in comparisons(rows):
        if len({order for orders in repeats for order in orders}) > 1:
            pairs = [pair for orders in repeats for pair in in_both_orders(orders)]
            both += pairs
            kept += chain.from_iterable(pairs)
        else:
            asked = chain.from_iterable(same for orders in repeats for same in orders.values())
            kept += [row for row in asked if row["verdict"] is not None]
    unscored = sum(row["verdict"] is None for row in rows)
    return Usable(kept, both, unscored, len(rows) - unscored - len(kept))


def compare(rows: Sequence[Row], *, level: float = LEVEL, power: float = POWER) -> dict[str, Any]:
    """Everything that is told of a pair: `compare_short`, and prompts, incomplete, p, mde, prompts_needed.

    `p` is two-sided, from random signs of the prompts' points beyond one half. `mde` is the distance from one half
    that so many prompts would show with this power, `prompts_needed` how many it would take for the distance observed.
    """
    found = usable(rows)
    rate = _rate(found.rows, level)
    beyond = None if rate.mean is None else abs(rate.mean - EVEN)
    return {
        **_short(found, rate),
        "prompts": rate.prompts,
        "incomplete": found.incomplete,
        "p": permutation_p(beyond_even(found.rows)),
        "mde": detectable(rate.deviation, rate.prompts, power=power, level=level),
        "prompts_needed": prompts_needed(rate.deviation, beyond, power=power, level=level),
    }


def compare_short(rows: Sequence[Row], *, level: float = LEVEL) -> dict[str, Any]:
    """win, tie, loss, n, rate, interval, flip_rate over flip_n comparisons in both orders, and unscored."""
    found = usable(rows)
    return _short(found, _rate(found.rows, level))


def _short(found: Usable, rate: Estimate) -> dict[str, Any]:
    flips = {"flip_rate": mean(found.flips), "flip_n": len(found.both)}
    return {**_counted(found.rows, rate), **flips, "unscored": found.unscored}


def _counted(rows: list[Row], rate: Estimate) -> dict[str, Any]:
    counts = Counter(row["verdict"] for row in rows)
    return {
        "win": counts["first"],
        "tie": counts["tie"],
        "loss": counts["second"],
        "n": len(rows),
        "rate": rate.mean,
        "interval": rate.interval,
    }


def _rate(rows: Iterable[Row], level: float) -> Estimate:
    return estimate(((row["prompt_id"], POINTS[row["verdict"]]) for row in rows), bounds=SHARE, level=level)


def beyond_even(rows: Iterable[Row]) -> list[float]:
    """By prompt, the points of its verdicts beyond one half each; their sum is n times (rate - 1/2)."""
    sums: dict[str, float] = defaultdict(float)
    for row in rows:
        sums[row["prompt_id"]] += POINTS[row["verdict"]] - EVEN
    return list(sums.values())


def compare_by(rows: Sequence[Row], column: str, *, level: float = LEVEL) -> dict[str, dict[str, Any]]:
    """`compare_short` for each value of a column, by name; rows without a value are left out."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row[column] is not None:
            groups[row[column]].append(row)
    return {value: compare_short(groups[value], level=level) for value in sorted(groups)}


def control_facts(rows: Sequence[Row]) -> dict[str, Any]:
    """decided_share, identical: of an A/A control's usable verdicts the share that are no tie, and how many were on one
    text that stood on both sides.

    The rate alone could not fail a judge that goes by the place: asked in both orders it is exactly one half.
    """
    kept = usable(rows).rows
    return {
        "decided_share": mean([float(row["verdict"] != "tie") for row in kept]),
        "identical": sum(row["second_sample"] == row["sample"] for row in kept),
    }


def compare_axes(rows: Sequence[Row], *, level: float = LEVEL) -> dict[str, dict[str, Any]]:
    """win, tie, loss, n, rate and interval of each axis that a judge named, under the same rule of both orders."""
    told = [json.loads(row["axes"]) if row["axes"] else {} for row in rows]
    found = {}
    for axis in sorted(set().union(*told)):
        verdicts = [{**row, "verdict": axes.get(axis)} for row, axes in zip(rows, told, strict=True)]
        kept = usable(verdicts).rows
        found[axis] = _counted(kept, _rate(kept, level))
    return found


def without_judge(rows: Sequence[Row], *, level: float = LEVEL) -> dict[str, dict[str, Any]]:
    """rate, interval and n without each judge in turn; empty with fewer than two judges that count."""
    kept = usable(rows).rows
    judges = sorted({row["judge"] for row in kept})
    if len(judges) < 2:
        return {}
    found = {}
    for judge in judges:
        rate = _rate((row for row in kept if row["judge"] != judge), level)
        found[judge] = {"rate": rate.mean, "interval": rate.interval, "n": rate.n}
    return found
