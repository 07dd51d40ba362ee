"""What rubric verdicts come to: as the judges or a published run said it, and recomputed from the components."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from stillhouse.evaluation.statistics import LEVEL, Bounds, Estimate, estimate, mean

Row = dict[str, Any]
Scored = list[tuple[Row, float]]
"""Rows and the overall that is meant."""


def rubric_means(
    rows: Sequence[Row], *, bounds: Bounds | None = None, level: float = LEVEL
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(recorded, recomputed) of one subject's rows of rubric.parquet; `bounds` are the rubric's scale.

    `recorded` is the plain mean of what was said: `recorded_overall` of recorded rows, placeholders of failed
    judgements included, the judge's own overall of live ones; rows that say nothing are its unscored ones.
    `recomputed` takes the scored rows only. Both tell overall, interval, n, unscored, the number of answers with a
    critical failure (of all rows, and of scored ones), and means and counts by category and difficulty;
    recomputed has means by component and intervals by category too.
    """
    said = [(row, _said(row)) for row in rows]
    recorded = [(row, value) for row, value in said if value is not None]
    scored = [(row, row["overall"]) for row in rows if row["status"] == "scored"]
    categories = _groups(scored, "category")
    intervals = {name: _estimate(of, bounds, level).interval for name, of in categories.items()}
    return (
        _block(recorded, rows, len(rows) - len(recorded), bounds, level),
        {
            **_block(scored, [row for row, _ in scored], len(rows) - len(scored), bounds, level),
            "by_component": _by_component(scored),
            "intervals": {"by_category": intervals},
        },
    )


def _said(row: Row) -> float | None:
    """The overall that the published run or the judge gave."""
    return row["recorded_overall"] if row["source"] == "recorded" else row["judge_overall"]


def _block(
    scored: Scored, failing: Sequence[Row], unscored: int, bounds: Bounds | None, level: float
) -> dict[str, Any]:
    """The part that both blocks have; critical failures are those of `failing`."""
    overall = _estimate(scored, bounds, level)
    by = {column: _groups(scored, column) for column in ("category", "difficulty")}
    answers = {(row["subject"], row["set"], row["prompt_id"], row["sample"]) for row in _failed(failing)}
    return {
        "overall": overall.mean,
        "interval": overall.interval,
        "n": overall.n,
        "unscored": unscored,
        "critical_failures": len(answers),
        **{f"by_{column}": {name: mean([v for _, v in of]) for name, of in by[column].items()} for column in by},
        "counts": {f"by_{column}": {name: len(of) for name, of in by[column].items()} for column in by},
    }


def _failed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["critical_failures"]]


def _estimate(scored: Scored, bounds: Bounds | None, level: float) -> Estimate:
    return estimate(((row["prompt_id"], value) for row, value in scored), bounds=bounds, level=level)


def _groups(scored: Scored, column: str) -> dict[str, Scored]:
    """By value of a column, sorted; rows without one are in no group."""
    groups: dict[str, Scored] = defaultdict(list)
    for row, value in scored:
        if row[column] is not None:
            groups[row[column]].append((row, value))
    return {name: groups[name] for name in sorted(groups)}


def _by_component(scored: Scored) -> dict[str, float | None]:
    found: dict[str, list[float]] = defaultdict(list)
    for row, _ in scored:
        components = row["components"]
        for name, part in (json.loads(components) if isinstance(components, str) else components).items():
            found[name].append(part["score"])
    return {name: mean(values) for name, values in sorted(found.items())}
