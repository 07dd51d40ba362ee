"""One adapter, served in several ways: what the way of serving changes."""

from collections.abc import Sequence
from typing import Any

from stillhouse.evaluation.conditions import TARGET
from stillhouse.evaluation.report_settings import ReportSettings
from stillhouse.evaluation.statistics import SHARE, Estimate, estimate, matched, paired_difference
from stillhouse.evaluation.summary_breaks import broken_on_targets
from stillhouse.evaluation.summary_differences import Scales, difference_bounds
from stillhouse.evaluation.summary_evidence import Evidence, Row

METRICS = ("capped", "rubric", "breaks")
SERVE = "peft"
"""How an adapter is served where the study does not say."""
GIVEN = ("system", "context", "wrap", "grammar")
"""What a subject may be given besides its weights. Two subjects that differ here differ in more than the serving."""

Values = list[tuple[str, str | None, str | None, float]]
"""(prompt_id, judge, category, value); None for what no judge gave."""


def serving_groups(settings: ReportSettings, evidence: Evidence, scales: Scales) -> list[dict[str, Any]]:
    """By adapter that was served in two ways at least: every subject's scores, and the differences by category.

    Marker scores (capped), rubric overall and share of broken answers, all on target sets. The first subject in the study's
    order that is served by peft, else the first of all, is the one that the others are compared with: differences are
    the other's value minus its own, paired by prompt, rubric scores by judge too.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name in evidence.order:
        if name in settings.adapters:
            given = str([settings.subjects.get(name, {}).get(key) or None for key in GIVEN])
            groups.setdefault((settings.adapters[name], given), []).append(name)
    served = {name: _serve(name, settings) for name in evidence.order}
    return [
        _group(adapter, names, served, evidence, scales, settings.rules.level)
        for (adapter, _), names in groups.items()
        if len({served[name] for name in names}) > 1
    ]


def _serve(name: str, settings: ReportSettings) -> str:
    return settings.subjects.get(name, {}).get("serve") or SERVE


def _group(
    adapter: str, names: list[str], served: dict[str, str], evidence: Evidence, scales: Scales, level: float
) -> dict[str, Any]:
    values = {name: {metric: _values(evidence, name, metric) for metric in METRICS} for name in names}
    base = next((name for name in names if served[name] == SERVE), names[0])
    rows = []
    for name in names:
        scores = {metric: _mean(values[name][metric], metric, scales, level) for metric in METRICS}
        rows.append(
            {
                "subject": name,
                "serve": served[name],
                "markers": scores["capped"],
                "rubric": scores["rubric"],
                "breaks": scores["breaks"],
                "n": sum(len(evidence.answers_by.get((name, key), ())) for key in evidence.sets),
            }
        )
    found = [
        item
        for name in names
        if name != base
        for metric in METRICS
        for item in _differences(name, base, metric, (values[name][metric], values[base][metric]), level)
    ]
    return {"adapter": adapter, "rows": rows, "differences": found}


def _values(evidence: Evidence, name: str, metric: str) -> Values:
    if metric == "capped":
        rows: Sequence[Row] = evidence.markers_by_role.get((name, TARGET), [])
        return [(row["prompt_id"], None, row["category"], row["capped"]) for row in rows]
    if metric == "rubric":
        rows = [row for row in evidence.rubric_by.get((name,), []) if row["status"] == "scored"]
        return [(row["prompt_id"], row["judge"], row["category"], row["overall"]) for row in rows]
    broken = broken_on_targets(evidence.breaks_by.get((name,), []))
    return [(row["prompt_id"], None, row["category"], float(value)) for row, value in broken]


def _bounds(metric: str, scales: Scales) -> tuple[float, float] | None:
    return SHARE if metric == "breaks" else scales.bounds(metric)


def _mean(values: Values, metric: str, scales: Scales, level: float) -> dict[str, Any] | None:
    observed = [(prompt, value) for prompt, _, _, value in values]
    return estimate(observed, bounds=_bounds(metric, scales), level=level).plain() if values else None


def _differences(
    first: str, second: str, metric: str, sides: tuple[Values, Values], level: float
) -> list[dict[str, Any]]:
    """Over all prompts (category None), then by category; without those that the two share no prompt of."""
    categories = sorted({category for values in sides for _, _, category, _ in values if category is not None})
    found: list[tuple[str | None, Estimate]] = []
    for category in (None, *categories):
        one, other = (
            [(prompt, judge, value) for prompt, judge, own, value in values if category in (None, own)]
            for values in sides
        )
        told = paired_difference(*matched(one, other), bounds=difference_bounds(metric), level=level)
        found.append((category, told))
    return [
        {"first": first, "second": second, "category": category, "metric": metric, "difference": told.plain()}
        for category, told in found
        if told.n
    ]
