"""Differences between subjects, paired by prompt, with what Holm's correction leaves of their p values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.evaluation.conditions import TARGET, comparisons
from stillhouse.evaluation.paired import holm, permutation_p
from stillhouse.evaluation.power import detectable, prompts_needed
from stillhouse.evaluation.statistics import SHARE, matched, paired_difference, prompt_differences
from stillhouse.evaluation.summary_evidence import Evidence, Row
from stillhouse.evaluation.words import word
from stillhouse.study.gates import Rules

Observations = list[tuple[str, float]]
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Scales:
    """How far a measure can go: the number of markers, and the rubric's lowest and highest score."""

    markers: int | None = None
    rubric: Bounds | None = None

    def bounds(self, metric: str) -> Bounds | None:
        """Lowest and highest value of raw, capped or rubric; None where nobody knows."""
        raw = (0.0, float(self.markers)) if self.markers else None
        return {"raw": raw, "capped": SHARE, "rubric": self.rubric}[metric]

    def width(self, metric: str) -> float:
        """Highest minus lowest value, 1 where nobody knows: the unit of the rules' margins."""
        low, high = self.bounds(metric) or SHARE
        return high - low


def difference_bounds(metric: str) -> Bounds | None:
    """Bounds of one side that a difference's interval is given.

    By the simulation of benchmarks/coverage.py differences of shares need theirs, those of counts and scores do not.
    """
    return SHARE if metric in ("capped", "breaks", "checks") else None


def differences(evidence: Evidence, rules: Rules, scales: Scales) -> list[dict[str, Any]]:
    """Every candidate minus each of its baselines on raw and capped markers by set, and on the rubric's overall.

    Rubric scores are compared within a judge (`matched`).
    `p_holm` and `word` are still None: they depend on all comparisons of the report (`correct`).
    """
    found = []
    for candidate, baseline, kind in comparisons(evidence.order, evidence.conditions):
        named = {"candidate": candidate, "baseline": baseline, "kind": kind}
        for name, about in evidence.sets.items():
            sides = [evidence.markers_by.get((subject, name), []) for subject in (candidate, baseline)]
            for metric in ("raw", "capped"):
                values = [[(row["prompt_id"], float(row[metric])) for row in side] for side in sides]
                place = {"set": name, "role": about.role, "metric": metric}
                found += _difference({**named, **place}, values, rules, scales)
        scores = (judged_scores(evidence.rubric_by.get((subject,), [])) for subject in (candidate, baseline))
        found += _difference(
            {**named, "set": None, "role": TARGET, "metric": "rubric"}, matched(*scores), rules, scales
        )
    return found


def judged_scores(verdicts: Iterable[Row]) -> list[tuple[str, str, float]]:
    """(prompt_id, judge, recomputed overall) of every scored verdict."""
    return [(row["prompt_id"], row["judge"], row["overall"]) for row in verdicts if row["status"] == "scored"]


def _difference(
    named: dict[str, Any], sides: Sequence[Observations], rules: Rules, scales: Scales
) -> list[dict[str, Any]]:
    """One entry, none where the two share no prompt."""
    first, second = sides
    found = paired_difference(first, second, bounds=difference_bounds(named["metric"]), level=rules.level)
    if found.n and not found.deviation:
        # all prompts agree, as with a judge who gives everything a 1: only the scale says what an unseen one may do
        found = paired_difference(first, second, bounds=scales.bounds(named["metric"]), level=rules.level)
    if not found.n:
        return []
    return [
        {
            **named,
            "estimate": found.plain(),
            "p": permutation_p(prompt_differences(first, second)),
            "p_holm": None,
            "word": None,
            "mde": detectable(found.deviation, found.prompts, power=rules.power, level=rules.level),
            "prompts_needed": prompts_needed(found.deviation, found.mean, power=rules.power, level=rules.level),
        }
    ]


def correct(found: list[dict[str, Any]], pairs: Mapping[str, dict[str, Any]], rules: Rules, scales: Scales) -> None:
    """Fill in `p_holm` and `word` of all differences on target sets and all pairs: one family of comparisons.

    Left out are leakage on forgetting sets, where more is no win, and the A/A control, which is a check of the judge.
    Holm, S. (1979), A simple sequentially rejective multiple test procedure.
    """
    family = [item for item in found if item["role"] == TARGET]
    compared = [pair for pair in pairs.values() if not pair["control"]]
    corrected = holm([item["p"] for item in [*family, *compared]])
    for item, p in zip(family, corrected[: len(family)], strict=True):
        width = scales.width(item["metric"])
        item.update(p_holm=p, word=word(item["estimate"]["interval"], p, rules, centre=0.0, scale=width))
    for pair, p in zip(compared, corrected[len(family) :], strict=True):
        pair.update(p_holm=p, word=word(pair["interval"], p, rules, flip_rate=pair["flip_rate"]))
