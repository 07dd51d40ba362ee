"""Bounds of a study, checked against what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stillhouse.evaluation.conditions import ABLATION, FORGETTING, GOLD, STUDENT, TARGET
from stillhouse.evaluation.gate_check import Bound, Measured, check
from stillhouse.evaluation.guards import guard_checks
from stillhouse.evaluation.statistics import SHARE, estimate, mean, paired_difference
from stillhouse.evaluation.summary_breaks import broken_on_targets
from stillhouse.evaluation.summary_differences import Observations, Scales, judged_scores
from stillhouse.evaluation.summary_evidence import Evidence
from stillhouse.study.gates import Gates, Rules

Check = dict[str, Any]


def check_gates(
    gates: Gates, rules: Rules, evidence: Evidence, pairs: Mapping[str, Mapping[str, Any]], scales: Scales
) -> dict[str, Any]:
    """Every gate of the study: observed, interval, bound, passed, reason.

    `pairs` is the `pairwise` block of the report. `passed` is None where the study sets no gate. A gate that cannot be
    measured does not pass; one on students without a student in sight fails with `subject` None.
    """
    measure = _Students(evidence, scales, rules.level)
    bounds: list[tuple[str, float | None, bool, Callable[[str], Measured]]] = [
        ("student_over_gold", gates.student_over_gold, True, measure.over_gold),
        ("leakage", gates.leakage, False, measure.leakage),
        ("adapter_signal", gates.adapter_signal, True, measure.signal),
        ("rubric", gates.rubric, True, measure.rubric),
        ("breaks", gates.breaks, False, measure.breaks),
        ("checks", gates.checks, True, measure.checks),
    ]
    nobody = Measured(reason="no subject with condition student")
    students = [name for name in evidence.order if evidence.conditions[name] == STUDENT]
    checks: list[Check] = [
        check(gate, name, found(name) if name else nobody, Bound(value, least, gates.certain))
        for gate, value, least, found in bounds
        if value is not None
        for name in students or [None]
    ]
    checks += [
        check("win_rate", name, _rate(name, pairs), Bound(share, least=True, certain=gates.certain))
        for name, share in gates.win_rate.items()
    ]
    for guard in gates.guards:
        checks += guard_checks(guard, evidence, rules, gates.certain)
    return {"checks": checks, "passed": all(item["passed"] for item in checks) if checks else None}


def _rate(name: str, pairs: Mapping[str, Mapping[str, Any]]) -> Measured:
    pair = pairs.get(name)
    if pair is None or pair["rate"] is None:
        return Measured(reason=f"no usable verdict on {name}")
    return Measured(pair["rate"], pair["interval"])


@dataclass(frozen=True)
class _Students:
    """What the gates look at, for one student."""

    evidence: Evidence
    scales: Scales
    level: float

    def over_gold(self, name: str) -> Measured:
        """Capped marker score as a share of gold's, target sets."""
        golds = [other for other in self.evidence.order if self.evidence.conditions[other] == GOLD]
        mine = self._marks(name, TARGET, "capped")
        gold = [value for other in golds for value in self._marks(other, TARGET, "capped")]
        whole = mean([value for _, value in gold])
        if not mine:
            return Measured(reason="no answers on a target set with markers counted")
        if not whole:
            return Measured(reason="gold scores 0" if gold else "no subject with condition gold")
        share = sum(value for _, value in mine) / len(mine) / whole
        return Measured(share, self._ratio_interval(mine, gold, share, whole))

    def _ratio_interval(self, mine: Observations, gold: Observations, share: float, whole: float) -> list[float] | None:
        """The interval of `share`, mine over gold, by linearisation (Cochran 1977, Sampling Techniques, 6.4).

        To first order the ratio's error is the mean of (mine - share * gold) / `whole`, gold's mean, paired by prompt.
        """
        error = paired_difference(mine, [(prompt, share * value) for prompt, value in gold], level=self.level)
        if error.interval is None or error.mean is None:
            return None
        low, high = error.interval
        return [round(share + (end - error.mean) / whole, 6) for end in (low, high)]

    def leakage(self, name: str) -> Measured:
        """Capped marker score on forgetting sets."""
        return self._mean(self._marks(name, FORGETTING, "capped"), SHARE, "no answers on a forgetting set")

    def signal(self, name: str) -> Measured:
        """Raw markers on target sets minus the ablation's; of several ablations the one that leaves least."""
        ablations = [other for other in self.evidence.order if self.evidence.conditions[other] == ABLATION]
        mine = self._marks(name, TARGET, "raw")
        found = [paired_difference(mine, self._marks(other, TARGET, "raw"), level=self.level) for other in ablations]
        if not found:
            return Measured(reason="no subject with condition ablation")
        missing = "no prompt with markers counted for student and ablation"
        return min((Measured.of(one, missing) for one in found), key=_least)

    def rubric(self, name: str) -> Measured:
        """Recomputed overall."""
        scores = judged_scores(self.evidence.rubric_by.get((name,), []))
        return self._mean(
            [(prompt, score) for prompt, _, score in scores], self.scales.bounds("rubric"), "no rubric score"
        )

    def breaks(self, name: str) -> Measured:
        """Share of answers on target sets that break character."""
        found = broken_on_targets(self.evidence.breaks_by.get((name,), []))
        values = [(row["prompt_id"], float(broken)) for row, broken in found]
        return self._mean(values, SHARE, "no answer on a target set was looked at for character breaks")

    def checks(self, name: str) -> Measured:
        """Share of expectations that held."""
        rows = self.evidence.checks_by.get((name,), [])
        values = [(row["prompt_id"], float(row["passed"])) for row in rows if row["passed"] is not None]
        return self._mean(values, SHARE, "no check was run")

    def _marks(self, name: str, role: str, metric: str) -> Observations:
        rows = self.evidence.markers_by_role.get((name, role), [])
        return [(row["prompt_id"], float(row[metric])) for row in rows]

    def _mean(self, values: Observations, bounds: tuple[float, float] | None, missing: str) -> Measured:
        return Measured.of(estimate(values, bounds=bounds, level=self.level), missing)


def _least(found: Measured) -> float:
    """What could not be measured sorts before everything: it is the one that fails."""
    return float("-inf") if found.value is None else found.value
