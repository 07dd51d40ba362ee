"""Whether a report may be read at all: too many verdicts without a score make it invalid."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.statistics import percent, rounded
from stillhouse.evaluation.summary_evidence import Evidence
from stillhouse.study.gates import Rules

KINDS = {"rubric": "rubric verdicts", "pairwise": "comparisons", "breaks": "verdicts on character breaks"}


def invalid_reasons(evidence: Evidence, rules: Rules) -> list[str]:
    """A sentence for every judge whose share of unscored verdicts of one kind is above `rules.max_unscored`.

    Recorded verdicts are left out: nobody can ask for them again, so the headline warns of them and the run goes on.
    """
    unscored: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in (row for row in evidence.rubric if row["source"] == "live"):
        unscored[row["judge"], "rubric"].append(row["status"] != "scored")
    for row in (row for row in evidence.pairwise if row["source"] == "live"):
        unscored[row["judge"], "pairwise"].append(row["verdict"] is None)
    for row in evidence.breaks:
        if row["judge"] is not None:
            unscored[row["judge"], "breaks"].append(row["broken"] is None)
    return [
        f"Judge {judge}: {percent(sum(found) / len(found))} of its {len(found)} {KINDS[kind]} are unscored, "
        f"and the limit is {percent(rules.max_unscored)}."
        for (judge, kind), found in sorted(unscored.items())
        if sum(found) > rules.max_unscored * len(found)
    ]


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
