"""Checks of the `evaluations` section that pydantic cannot see: names of subjects, sets, models, adapters and exports."""

from collections.abc import Iterator
from pathlib import Path

from stillhouse.study.evaluations import Evaluation, Rubric, Subject
from stillhouse.study.faults import known
from stillhouse.study.gates import Guard
from stillhouse.study.grammars import server_fault
from stillhouse.study.serve import form_fault
from stillhouse.study.served import serving_faults
from stillhouse.study.study import Study
from stillhouse.study.vllm import environment_fault

GATES = {
    "student_over_gold": ("markers", {"student", "gold"}),
    "leakage": ("markers", {"student"}),
    "adapter_signal": ("markers", {"student", "ablation"}),
    "rubric": ("rubric", {"student"}),
    "breaks": ("breaks", {"student"}),
    "checks": ("checks", {"student"}),
}
"""By gate: what must be measured, and the conditions that it needs."""

RESPONSES = "results/evaluations/{}/responses/{}.parquet"
"""Where answers are already, no engine is needed: results may be looked at anywhere."""


def check_evaluation(study: Study, path: str, evaluation: Evaluation) -> Iterator[str]:
    """Every fault of one evaluation as one line."""
    for name, subject in evaluation.subjects.items():
        yield from _subject(study, f"{path}.subjects.{name}", subject)
        if subject.serve == "vllm" and not Path(RESPONSES.format(path.rpartition(".")[2], name)).exists():
            fault = environment_fault()
            yield from [f"{path}.subjects.{name}.serve: {fault}"] if fault else []
    judged = [(kind, getattr(evaluation, kind)) for kind in ("breaks", "rubric", "pairwise")]
    for kind, section in judged:
        for number, judge in enumerate(section.judges if section else []):
            yield from known(f"{path}.{kind}.judges[{number}]", judge, study.models, "models")
    yield from _rubric(path, evaluation)
    yield from _pairwise(path, evaluation)
    yield from _gates(path, evaluation)


def _rubric(path: str, evaluation: Evaluation) -> Iterator[str]:
    for number, name in enumerate(evaluation.rubric.subjects or [] if evaluation.rubric else []):
        yield from known(f"{path}.rubric.subjects[{number}]", name, evaluation.subjects, "subjects")
    if evaluation.rubric and evaluation.rubric.judges and not evaluation.subjects:
        yield f"{path}.rubric.judges: there are no subjects whose answers they could judge"


def _pairwise(path: str, evaluation: Evaluation) -> Iterator[str]:
    pairwise = evaluation.pairwise
    if pairwise is None:
        return
    for number, pair in enumerate(pairwise.pairs):
        for name in pair:
            yield from known(f"{path}.pairwise.pairs[{number}]", name, evaluation.subjects, "subjects")
        if pair[0] == pair[1]:
            yield f"{path}.pairwise.pairs[{number}]: compares {pair[0]!r} with itself; name it as `control` for an A/A test"
        if (pair[1], pair[0]) in pairwise.pairs[:number]:
            yield f"{path}.pairwise.pairs[{number}]: {pair[0]!r} and {pair[1]!r} are compared already, the other way round"
    for number, name in enumerate(pairwise.round_robin):
        yield from known(f"{path}.pairwise.round_robin[{number}]", name, evaluation.subjects, "subjects")
    if pairwise.control is not None:
        yield from known(f"{path}.pairwise.control", pairwise.control, evaluation.subjects, "subjects")


def _gates(path: str, evaluation: Evaluation) -> Iterator[str]:
    gates, conditions = evaluation.gates, {s.condition or name for name, s in evaluation.subjects.items()}
    conditions |= set(evaluation.rubric.recorded) if evaluation.rubric else set()
    for gate, (metric, names) in GATES.items():
        if getattr(gates, gate) is None:
            continue
        for name in sorted(names - conditions):
            yield f"{path}.gates.{gate}: no subject has condition {name!r}"
        if not getattr(evaluation, metric):
            yield f"{path}.gates.{gate}: the evaluation measures no {metric}; add evaluations.*.{metric}"
    if gates.leakage is not None and all(item.role != "forgetting" for item in evaluation.sets.values()):
        yield f"{path}.gates.leakage: no prompt set has role forgetting"
    if gates.win_rate and evaluation.pairwise is None:
        yield f"{path}.gates.win_rate: the evaluation compares no pairs"
    elif evaluation.pairwise and evaluation.pairwise.recorded is None:
        pairs = [f"{first}_vs_{second}" for first, second in evaluation.compared]
        for pair in gates.win_rate:
            yield from known(f"{path}.gates.win_rate", pair, pairs, "pairs")
    for number, guard in enumerate(gates.guards):
        yield from _guard(f"{path}.gates.guards[{number}]", guard, evaluation)


def _guard(path: str, guard: Guard, evaluation: Evaluation) -> Iterator[str]:
    names = [*evaluation.subjects, *(evaluation.rubric.recorded if evaluation.rubric else [])]
    for key in ("candidate", "baseline"):
        yield from known(f"{path}.{key}", getattr(guard, key), names, "subjects")
    metric = {"capped": "markers"}.get(guard.metric, guard.metric)
    if not getattr(evaluation, metric):
        yield f"{path}.metric: the evaluation measures no {metric}; add evaluations.*.{metric}"
    if guard.critical_failures and evaluation.rubric is None:
        yield f"{path}.critical_failures: only a rubric tells critical failures"
    if guard.metric == "rubric" and evaluation.rubric:
        yield from _guarded_rubric(path, guard, evaluation.rubric)


def _guarded_rubric(path: str, guard: Guard, rubric: Rubric) -> Iterator[str]:
    """A guard by the rubric needs both subjects judged, on all prompts of its categories."""
    judged = {*rubric.recorded, *(rubric.subjects or [])}
    for key in ("candidate", "baseline"):
        name = getattr(guard, key)
        if name not in judged and (rubric.subjects is not None or not rubric.judges):
            yield f"{path}.{key}: {name!r} is not judged by the rubric; add it to rubric.subjects"
    if rubric.limit is not None:
        yield f"{path}: rubric.limit would leave guarded categories out by chance; take it away"


def _subject(study: Study, path: str, subject: Subject) -> Iterator[str]:
    if subject.model is not None:
        yield from known(f"{path}.model", subject.model, study.models, "models")
        if fault := server_fault(subject.grammar, study.models.get(subject.model)):
            yield f"{path}.grammar: models.{subject.model} cannot hold {subject.grammar!r}: {fault}"
        return
    yield from serving_faults(study, path, subject)
    if subject.grammar and (fault := form_fault(subject)):
        yield f"{path}.grammar: {fault}"
