"""The pairwise part of report.json: pairs, the panel of judges, ratings, and how far judges agree."""

from typing import Any

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.agreement import pairwise_agreement, rubric_agreement
from stillhouse.evaluation.lengths import length_controlled
from stillhouse.evaluation.pairs import compare, compare_axes, compare_by, control_facts, without_judge
from stillhouse.evaluation.ratings import bradley_terry
from stillhouse.evaluation.summary_evidence import Evidence, Row
from stillhouse.study.gates import Rules


def pair_name(first: str, second: str) -> str:
    """The key of a pair in report.json."""
    return f"{first}_vs_{second}"


def pair_blocks(evidence: Evidence, rules: Rules) -> dict[str, dict[str, Any]]:
    """Every pair's figures over all judges, by judge, category and axis. `p_holm` and `word` are still None.

    A pair of a subject with itself is the A/A control: `control` is true, and it takes no part in Holm and ratings.
    Raises `EvaluationError` when two pairs would have one name.
    """
    found: dict[str, dict[str, Any]] = {}
    places = {name: place for place, name in enumerate(evidence.order)}
    for (first, second), rows in sorted(evidence.pairs.items(), key=lambda item: [places[name] for name in item[0]]):
        name = pair_name(first, second)
        if name in found:
            raise EvaluationError(f"two pairs have the name {name}: rename a subject that holds _vs_")
        found[name] = _pair(first, second, rows, rules)
    return found


def _pair(first: str, second: str, rows: list[Row], rules: Rules) -> dict[str, Any]:
    level, control = rules.level, first == second
    return {
        "candidate": first,
        "baseline": second,
        "first": first,
        "second": second,
        **compare(rows, level=level, power=rules.power),
        "p_holm": None,
        "word": None,
        "length_controlled": length_controlled(rows, level=level),
        "by_judge": compare_by(rows, "judge", level=level),
        "by_category": compare_by(rows, "category", level=level),
        "axes": compare_axes(rows, level=level),
        "without_judge": without_judge(rows, level=level),
        "control": control,
        **(control_facts(rows) if control else {"decided_share": None, "identical": None}),
    }


def ratings(evidence: Evidence, rules: Rules) -> dict[str, Any] | None:
    """Bradley-Terry ratings of all subjects that were compared with another; None below three."""
    return bradley_terry(evidence.pairwise, level=rules.level)


def panel(pairs: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Counts and the share preferred (win rate, ties half) by pair and judge; None without a comparison."""
    told = {name: pair for name, pair in pairs.items() if not pair["control"]}
    if not told:
        return None
    return {
        "judges": sorted({judge for pair in told.values() for judge in pair["by_judge"]}),
        "conditions": {
            name: {
                judge: {**{key: found[key] for key in ("win", "tie", "loss", "n")}, "share": found["rate"]}
                for judge, found in pair["by_judge"].items()
            }
            for name, pair in told.items()
        },
    }


def agreement(evidence: Evidence, rules: Rules) -> dict[str, Any] | None:
    """Krippendorff's alpha between judges, on comparisons and on rubric scores; None where one judge judged alone."""
    compared = [row for (first, second), same in evidence.pairs.items() if first != second for row in same]
    found = {
        "pairwise": pairwise_agreement(compared, level=rules.level),
        "rubric": rubric_agreement(evidence.rubric, level=rules.level),
    }
    told = {kind: {**alpha, "judges": len(alpha["judges"])} if alpha else None for kind, alpha in found.items()}
    return told if any(told.values()) else None
