"""Guards: categories in which a candidate must not lose against a baseline."""

from typing import Any

from stillhouse.evaluation.gate_check import Bound, Measured, check
from stillhouse.evaluation.statistics import paired_difference
from stillhouse.evaluation.summary_differences import difference_bounds
from stillhouse.evaluation.summary_evidence import Evidence, Row
from stillhouse.study.evaluations import Guard, Rules

CALLED = {"rubric": "rubric score", "checks": "check", "capped": "marker score"}


def guard_checks(guard: Guard, evidence: Evidence, rules: Rules, certain: bool) -> list[dict[str, Any]]:
    """One check a guarded category (candidate minus baseline, paired by prompt), and one on critical failures.

    A category without a prompt that both were measured on fails, with the reason.
    """
    sides = [_values(guard.metric, subject, evidence) for subject in (guard.candidate, guard.baseline)]
    bound = Bound(-guard.max_drop, least=True, certain=certain)
    found = []
    for category in guard.categories:
        one, other = ([(prompt, value) for prompt, own, value in side if own == category] for side in sides)
        difference = paired_difference(one, other, bounds=difference_bounds(guard.metric), level=rules.level)
        missing = (
            f"no prompt of category {category} with a {CALLED[guard.metric]} of both {guard.candidate} "
            f"and {guard.baseline}"
        )
        found.append(check("guard", guard.candidate, Measured.of(difference, missing), bound, category))
    return [*found, *([_failures(guard, evidence)] if guard.critical_failures else [])]


def _values(metric: str, subject: str, evidence: Evidence) -> list[tuple[str, str | None, float]]:
    """(prompt_id, category, value) of everything that the metric measured of `subject`."""
    if metric == "rubric":
        return [(row["prompt_id"], row["category"], row["overall"]) for row in _scored(subject, evidence)]
    if metric == "checks":
        rows = evidence.checks_by.get((subject,), [])
        return [(row["prompt_id"], row["category"], float(row["passed"])) for row in rows if row["passed"] is not None]
    sets = [evidence.markers_by.get((subject, name), []) for name in evidence.sets]
    return [(row["prompt_id"], row["category"], row["capped"]) for rows in sets for row in rows]


def _scored(subject: str, evidence: Evidence) -> list[Row]:
    return [row for row in evidence.rubric_by.get((subject,), []) if row["status"] == "scored"]


def _failures(guard: Guard, evidence: Evidence) -> dict[str, Any]:
    """Share of scored verdicts with a critical failure, over the prompts that both have: not above the baseline's.

    A share, not a count: one more judged sample of the candidate must not fail it.
    """
    sides = [_scored(subject, evidence) for subject in (guard.candidate, guard.baseline)]
    common = set.intersection(*({row["prompt_id"] for row in side} for side in sides))
    shares = []
    for side in sides:
        failed = [bool(row["critical_failures"]) for row in side if row["prompt_id"] in common]
        shares.append(sum(failed) / len(failed) if failed else None)
    observed, baseline = shares
    missing = f"no prompt with a rubric score of both {guard.candidate} and {guard.baseline}"
    measured = Measured(observed, reason=missing if observed is None else None)
    return check("guard_critical_failures", guard.candidate, measured, Bound(baseline or 0.0, least=False))
