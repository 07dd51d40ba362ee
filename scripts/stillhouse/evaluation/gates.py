"""Bounds of a study, checked against what was measured."""

from collections.abc import Callable
from typing import Any

from stillhouse.evaluation.statistics import mean, rounded
from stillhouse.study.evaluations import Gates

STUDENT, GOLD = "student", "gold"

Row = dict[str, Any]


def check_gates(gates: Gates, markers: list[Row]) -> dict[str, Any]:
    """Every gate for every subject of condition student: observed, bound, passed.

    `markers` are rows of judgements/markers.parquet. `passed` is None where the study sets no gate. A gate
    that cannot be measured does not pass, and `reason` says why.
    """
    checks: list[dict[str, Any]] = []
    if gates.student_over_gold is not None:
        gold = _capped(markers, "target", lambda row: row["condition"] == GOLD)
        checks += [
            _check("student_over_gold", subject, *_over_gold(markers, subject, gold), least=gates.student_over_gold)
            for subject in _students(markers)
        ]
    if gates.leakage is not None:
        checks += [
            _check("leakage", subject, *_leakage(markers, subject), most=gates.leakage)
            for subject in _students(markers)
        ]
    return {"checks": checks, "passed": all(check["passed"] for check in checks) if checks else None}


def _students(markers: list[Row]) -> list[str | None]:
    """Students' names; one None where there is none, so that a gate on nobody does not pass unseen."""
    return sorted({row["subject"] for row in markers if row["condition"] == STUDENT}) or [None]


def _capped(markers: list[Row], role: str, wanted: Callable[[Row], bool]) -> float | None:
    return mean([row["capped"] for row in markers if row["role"] == role and wanted(row)])


def _over_gold(markers: list[Row], subject: str | None, gold: float | None) -> tuple[float | None, str | None]:
    score = _capped(markers, "target", lambda row: row["subject"] == subject)
    if subject is None or score is None:
        return None, "no answers of a subject with condition student on a target set"
    if not gold:
        return None, "no subject with condition gold" if gold is None else "gold scores 0"
    return rounded(score / gold), None


def _leakage(markers: list[Row], subject: str | None) -> tuple[float | None, str | None]:
    score = _capped(markers, "forgetting", lambda row: row["subject"] == subject)
    return score, None if score is not None else "no answers of a subject with condition student on a forgetting set"


def _check(
    gate: str,
    subject: str | None,
    observed: float | None,
    reason: str | None,
    *,
    least: float | None = None,
    most: float | None = None,
) -> dict[str, Any]:
    passed = observed is not None and (least is None or observed >= least) and (most is None or observed <= most)
    direction, bound = ("at least", least) if least is not None else ("at most", most)
    return {
        "gate": gate,
        "subject": subject,
        "observed": observed,
        "direction": direction,
        "bound": bound,
        "passed": passed,
        "reason": reason,
    }
