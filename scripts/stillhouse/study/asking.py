"""Who asks models: every place of a study, with the file that holds the answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillhouse.study.evaluations import Evaluation
from stillhouse.study.study import Study


@dataclass(frozen=True)
class Asker:
    """A key of the study that names models which it asks, and the file that their answers end in."""

    key: str
    models: list[str]
    answers: str


def askers(study: Study) -> Iterator[Asker]:
    """Every asker, in the order of the sections."""
    for name, prompts in study.prompts.items():
        if prompts.expand:
            yield Asker(f"prompts.{name}.expand", [prompts.expand.model], f"results/prompts/{name}.expanded.jsonl")
    for name, generation in study.generations.items():
        folder = f"results/generations/{name}"
        yield Asker(f"generations.{name}", generation.asked, f"{folder}/answers.parquet")
        if generation.external_check:
            yield Asker(
                f"generations.{name}.external_check", generation.external_check.judges, f"{folder}/check.parquet"
            )
    for section, entries in (("generations", study.generations), ("answers", study.answers)):
        for name, entry in entries.items():
            if entry.quality:
                file = f"results/{section}/{name}/quality.parquet"
                yield Asker(f"{section}.{name}.quality", [entry.quality.model], file)
    for name, evaluation in study.evaluations.items():
        yield from _of_evaluation(name, evaluation)


def _of_evaluation(name: str, evaluation: Evaluation) -> Iterator[Asker]:
    folder = f"results/evaluations/{name}"
    for key, subject in evaluation.subjects.items():
        if subject.model:
            yield Asker(f"evaluations.{name}.subjects.{key}", [subject.model], f"{folder}/responses/{key}.parquet")
    for kind in ("breaks", "rubric", "pairwise"):
        if section := getattr(evaluation, kind):
            yield Asker(f"evaluations.{name}.{kind}", section.judges, f"{folder}/judgements/{kind}.parquet")


def asked_anew(study: Study, model: str) -> list[str]:
    """Keys that ask `model` and whose answers are not there yet."""
    return [asker.key for asker in askers(study) if model in asker.models and not Path(asker.answers).exists()]
