"""Holds a finished report to its own word on whether it is valid."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.figures import rounded


def refuse_invalid(report: Mapping[str, Any]) -> dict[str, Any]:
    """What valid.json holds of a report (the content of report.json).

    Raises `EvaluationError` naming judge, share and limit when more verdicts are unscored than the study allows.
    """
    if not report["valid"]:
        reasons = "\n".join(report["invalid_reasons"])
        raise EvaluationError(f"evaluation {report['evaluation']} is invalid, see its report:\n{reasons}")
    return {
        "valid": True,
        "evaluation": report["evaluation"],
        "max_unscored": report["rules"]["max_unscored"],
        "unscored_share": _unscored_shares(report),
    }


def _unscored_shares(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By judge and kind of verdict. Judges of character breaks alone are not among the report's `judges`."""
    shares: dict[str, dict[str, float]] = {
        judge: {kind: found[kind]["unscored_share"] for kind in ("rubric", "pairwise") if found[kind]}
        for judge, found in report["judges"].items()
    }
    breaks: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for subject in report["subjects"].values():
        for judge, found in (subject["breaks"] or {"judges": {}})["judges"].items():
            breaks[judge].append((found["unscored"], found["n"] + found["unscored"]))
    for judge, counts in breaks.items():
        unscored, asked = map(sum, zip(*counts, strict=True))
        shares.setdefault(judge, {})["breaks"] = rounded(unscored / asked)
    return shares
