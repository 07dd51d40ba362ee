"""Guards: categories in which a candidate must not lose against a baseline."""

from typing import Any

from stillhouse.evaluation.gate_check import Bound, Measured, check
from stillhouse.evaluation.statistics import matched, mean, paired_difference
from stillhouse.evaluation.summary_differences import difference_bounds
from stillhouse.evaluation.summary_evidence import Evidence, Row
from stillhouse.study.gates import Guard, Rules

CALLED = {"rubric": "rubric score", "checks": "check", "capped": "marker score"}


def guard_checks(guard: Guard, evidence: Evidence, rules: Rules, certain: bool) -> list[dict[str, Any]]:
    """One check a guarded category (candidate minus baseline, paired by prompt and judge), and one on critical failures.

    A category without a prompt that both were measured on fails, with the reason.
    """
    sides = [_values(guard.metric, subject, evidence) for subject in (guard.candidate, guard.baseline)]
    bound = Bound(-guard.max_drop, least=True, certain=certain)
    found = []
    for category in guard.categories:
        one, other = (
            [(prompt, judge, value) for prompt, judge, own, value in side if own == category] for side in sides
        )
        difference = paired_difference(*matched(one, other), bounds=difference_bounds(guard.metric), level=rules.level)
        missing = (
            f"no prompt of category {category} with a {CALLED[guard.metric]} of both {guard.candidate} "
            f"and {guard.baseline}"
        )
        found.append(check("guard", guard.candidate, Measured.of(difference, missing), bound, category))
    return [*found, *([_failures(guard, evidence)] if guard.critical_failures else [])]


def _values(metric: str, subject: str, evidence: Evidence) -> list[tuple[str, str | None, str | None, float]]:
    """(prompt_id, judge, category, value) of everything that the metric measured of `subject`."""
    if metric == "rubric":
        return [(row["prompt_id"], row["judge"], row["category"], row["overall"]) for row in _scored(subject, evidence)]
    if metric == "checks":
        rows = evidence.checks_by.get((subject,), [])
        run = [row for row in rows if row["passed"] is not None]
        return [(row["prompt_id"], None, row["category"], float(row["passed"])) for row in run]
    sets = [evidence.markers_by.get((subject, name), []) for name in evidence.sets]
    return [(row["prompt_id"], None, row["category"], row["capped"]) for rows in sets for row in rows]


def _scored(subject: str, evidence: Evidence) -> list[Row]:
    return [row for row in evidence.rubric_by.get((subject,), []) if row["status"] == "scored"]


def _failures(guard: Guard, evidence: Evidence) -> dict[str, Any]:
    """Share of scored verdicts with a critical failure, where a judge has scored both: not above the baseline's.

    A share, not a count, and by judge and prompt: one more judged sample or judge of the candidate must not fail it.
    """
    sides = [
        [(row["prompt_id"], row["judge"], float(bool(row["critical_failures"]))) for row in _scored(subject, evidence)]
        for subject in (guard.candidate, guard.baseline)
    ]
    observed, baseline = (mean([share for _, share in side]) for side in matched(*sides))
    missing = f"no prompt with a rubric score of both {guard.candidate} and {guard.baseline}"
    measured = Measured(observed, reason=missing if observed is None else None)
    return check("guard_critical_failures", guard.candidate, measured, Bound(baseline or 0.0, least=False))
