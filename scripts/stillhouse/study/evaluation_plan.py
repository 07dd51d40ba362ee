"""What the rules of evaluations need of the study; a part of `Plan`."""

from pathlib import Path
from typing import Any, Protocol

from stillhouse.study.bases import trained_on
from stillhouse.study.evaluations import Evaluation, Subject
from stillhouse.study.families import family_of_model, family_of_subject
from stillhouse.study.files import StudyFiles
from stillhouse.study.serve import way_of
from stillhouse.study.served import (
    MEMORY,
    adapter_of,
    answering,
    served_context,
    served_files,
    served_memory,
    served_version,
)
from stillhouse.study.study import Study

Inputs = dict[str, str | list[str]]

KINDS = ("markers", "breaks", "checks", "rubric", "pairwise")
"""Kinds of judgements; each has a file below judgements/."""


class Parts(Protocol):
    """What `EvaluationParts` takes from the rest of the plan."""

    study: Study
    _files: StudyFiles

    def identity(self, model: str) -> dict[str, Any]: ...

    def model_inputs(self, models: list[str]) -> Inputs: ...

    def model_weights(self, models: list[str]) -> list[str]: ...

    def _optional(self, path: str | None) -> list[str]: ...

    def _excluded(self, name: str, file: str) -> dict[str, list[str]]: ...


class EvaluationParts(Parts):
    """Inputs and recipes of evaluations."""

    def evaluation(self, name: str) -> Evaluation:
        """The section of an evaluation."""
        return self.study.evaluations[name]

    @staticmethod
    def evaluation_prompts(evaluation: str, name: str) -> str:
        """Parquet file of a held-out prompt set."""
        return f"results/evaluations/{evaluation}/prompts/{name}.parquet"

    def evaluation_prompts_file(self, evaluation: str, name: str) -> str:
        """Source file of a held-out prompt set."""
        return self._files.find(self.evaluation(evaluation).sets[name].file)

    def recipe_evaluation_prompts(self, evaluation: str, name: str) -> dict[str, Any]:
        """`CollectSettings` of a held-out prompt set, with what of `exclude` can concern it."""
        item = self.evaluation(evaluation).sets[name]
        return {
            "set": name,
            "limit": None,
            "categories": item.categories,
            "except_categories": item.except_categories,
            "recorded": True,
            "exclude": self._excluded(name, self.evaluation_prompts_file(evaluation, name)),
        }

    def inputs_subject(self, evaluation: str, name: str) -> Inputs:
        """Inputs of a subject's answers: prompts, its texts, other subjects' system prompts, digests of what answers."""
        entry = self.evaluation(evaluation)
        subject = entry.subjects[name]
        others = [] if subject.recorded else [s.system for s in entry.subjects.values() if s.system != subject.system]
        return {
            "prompts": [self.evaluation_prompts(evaluation, key) for key in entry.sets],
            "system": self._optional(subject.system),
            "others": sorted({self._files.find(system) for system in others if system is not None}),
            "context": [self._files.find(file) for file in subject.context],
            "wrap": self._optional(subject.wrap),
            "grammar": self._optional(subject.grammar),
            "answers": self._optional(subject.recorded),
            "digests": self._subject_digests(subject),
            "recorded": self.model_inputs([subject.model])["recorded"] if subject.model else [],
        }

    def _subject_digests(self, subject: Subject) -> list[str]:
        if subject.model:
            return list(self.model_inputs([subject.model])["model_digests"])
        trained = answering(self.study, subject)
        return served_files(self.study, trained).digests if trained else []

    def subject_weights(self, evaluation: str, name: str) -> list[str]:
        """The large files that answer for a subject; the rule takes them as `ancient`."""
        subject = self.study.evaluations[evaluation].subjects[name]
        if subject.model:
            return self.model_weights([subject.model])
        trained = answering(self.study, subject)
        return served_files(self.study, trained).weights if trained else []

    def recipe_subject(self, evaluation: str, name: str) -> dict[str, Any]:
        """How a subject answers."""
        entry = self.evaluation(evaluation)
        subject = entry.subjects[name]
        kind = next(k for k in ("model", "adapter", "export", "recorded") if getattr(subject, k) is not None)
        return {
            "subject": name,
            "condition": subject.condition or name,
            "kind": kind,
            "serve": way_of(subject),
            "model": self.identity(subject.model) if subject.model else None,
            # that of a model is in its identity
            "context": None if subject.model or subject.recorded else served_context(self.study, subject),
            # which text plays which part: the inputs alone do not tell a file that moved from one key to another
            "texts": {
                "system": subject.system is not None,
                "context": len(subject.context),
                "wrap": subject.wrap is not None,
                "grammar": subject.grammar is not None,
            },
            "roles": {key: item.role for key, item in entry.sets.items()},
            "samples": entry.samples,
            "sampling": entry.sampling.model_dump(),
            **served_version(subject),
        }

    def subject_memory(self, evaluation: str, name: str) -> int:
        """MiB that a subject's job may take."""
        trained = answering(self.study, self.evaluation(evaluation).subjects[name])
        return served_memory(trained) if trained else MEMORY

    def responses(self, evaluation: str, subjects: list[str] | None = None) -> list[str]:
        """Responses of `subjects`, of all when None."""
        names = self.evaluation(evaluation).subjects if subjects is None else subjects
        return [f"results/evaluations/{evaluation}/responses/{name}.parquet" for name in names]

    # judging

    def markers_file(self, evaluation: str) -> str:
        """The markers of an evaluation."""
        return self._files.find(self.evaluation(evaluation).markers)

    def breaks_file(self, evaluation: str) -> str:
        """The patterns of character breaks."""
        return self._files.find(self.evaluation(evaluation).breaks.patterns)

    def rubric_file(self, evaluation: str) -> str:
        """The rubric of an evaluation."""
        return self._files.find(self.evaluation(evaluation).rubric.file)

    def judging_template(self, kind: str) -> str:
        """The judges' template: a study's own in its working directory, else the shipped one."""
        return self._files.find(f"data/judging/{kind}.j2")

    def judges(self, evaluation: str, kind: str) -> list[str]:
        """Models that judge by `kind` (breaks, rubric, pairwise)."""
        section = getattr(self.evaluation(evaluation), kind)
        return section.judges if section else []

    def rubric_responses(self, evaluation: str) -> list[str]:
        """Responses of the subjects that are judged by the rubric, or whose judgements are recorded."""
        entry = self.evaluation(evaluation)
        recorded = [name for name in entry.rubric.recorded if name in entry.subjects]
        return self.responses(evaluation, list(dict.fromkeys([*self._judged(entry), *recorded])))

    @staticmethod
    def _judged(entry: Evaluation) -> list[str]:
        return (entry.rubric.subjects or list(entry.subjects)) if entry.rubric.judges else []

    def pair_responses(self, evaluation: str) -> list[str]:
        """Responses of the subjects that are compared; of all where verdicts are recorded, which tell lengths."""
        entry = self.evaluation(evaluation)
        if entry.pairwise.recorded is not None:
            return self.responses(evaluation)
        names = {name for pair in entry.compared for name in pair} | {entry.pairwise.control}
        return self.responses(evaluation, sorted(names - {None}))

    def recorded_judgements(self, evaluation: str) -> list[str]:
        """Files of recorded judgements, in the order of their subjects' names."""
        return [self._files.find(file) for _, file in sorted(self.evaluation(evaluation).rubric.recorded.items())]

    def recorded_verdicts(self, evaluation: str) -> list[str]:
        """The file of recorded verdicts, where there is one."""
        return self._optional(self.evaluation(evaluation).pairwise.recorded)

    def judging_sources(self, evaluation: str, kind: str) -> list[str]:
        """The user's files behind the judgements of `kind`."""
        files = {"breaks": self._breaks_sources, "rubric": self._rubric_sources, "pairwise": self.recorded_verdicts}
        template = self.judging_template("break" if kind == "breaks" else kind)
        return [*files[kind](evaluation), template, *self.model_inputs(self.judges(evaluation, kind))["recorded"]]

    def _breaks_sources(self, evaluation: str) -> list[str]:
        return [self.breaks_file(evaluation)]

    def _rubric_sources(self, evaluation: str) -> list[str]:
        return [self.rubric_file(evaluation), *self.recorded_judgements(evaluation)]

    def recipe_breaks(self, evaluation: str) -> dict[str, Any]:
        """`BreakSettings`, and the identities of the judges."""
        settings = self.evaluation(evaluation).breaks.model_dump(exclude={"patterns"})
        return {**settings, **self._judging(evaluation, "breaks")}

    def recipe_rubric(self, evaluation: str) -> dict[str, Any]:
        """`RubricSettings`, and the identities of the judges."""
        entry = self.evaluation(evaluation)
        settings = entry.rubric.model_dump(exclude={"file"})
        names = {"subjects": self._judged(entry), "recorded": sorted(entry.rubric.recorded)}
        return {**settings, **names, **self._judging(evaluation, "rubric")}

    def recipe_pairwise(self, evaluation: str) -> dict[str, Any]:
        """`PairwiseSettings`, and the identities of the judges."""
        entry = self.evaluation(evaluation)
        settings = entry.pairwise.model_dump(exclude={"round_robin", "recorded"})
        pairs = {"pairs": [list(pair) for pair in entry.compared]}
        return {**settings, **pairs, **self._judging(evaluation, "pairwise")}

    def _judging(self, evaluation: str, kind: str) -> dict[str, Any]:
        names = sorted(set(self.judges(evaluation, kind)))
        sampling = self.evaluation(evaluation).judging.model_dump()
        return {"sampling": sampling, "models": [self.identity(name) for name in names]}

    # reports

    def judgements(self, evaluation: str) -> Inputs:
        """The judgement files that an evaluation has, by kind."""
        entry = self.evaluation(evaluation)
        folder = f"results/evaluations/{evaluation}/judgements"
        present = {kind: getattr(entry, kind) is not None for kind in KINDS if kind != "checks"}
        present["checks"] = entry.checks
        return {kind: f"{folder}/{kind}.parquet" for kind in KINDS if present[kind]}

    def summary_sources(self, evaluation: str) -> list[str]:
        """The user's files that a report tells of."""
        entry = self.evaluation(evaluation)
        markers = [self.markers_file(evaluation)] if entry.markers else []
        return [*markers, *([self.rubric_file(evaluation)] if entry.rubric else [])]

    def trained_files(self, evaluation: str) -> list[str]:
        """Training rows of the datasets behind an evaluation's subjects."""
        return [f"results/datasets/{name}/train.parquet" for name in self._trained_on(self.evaluation(evaluation))]

    def _trained_on(self, entry: Evaluation) -> list[str]:
        return sorted({name for found in self._datasets(entry).values() for name in found})

    def _decontaminated(self, evaluation: str) -> list[str]:
        """Datasets behind an evaluation's subjects that are held against its prompts."""
        datasets = ((name, self.study.datasets[name]) for name in self._trained_on(self.evaluation(evaluation)))
        return [name for name, item in datasets if item.decontaminate and evaluation in item.decontaminate.against]

    def _datasets(self, entry: Evaluation) -> dict[str, list[str]]:
        """Datasets that each subject was trained on, those of the adapters and exports below its own too."""
        return {name: trained_on(self.study, adapter) for name, adapter in self._adapters(entry).items()}

    def _adapters(self, entry: Evaluation) -> dict[str, str]:
        """The adapter behind each subject that has one."""
        found = {name: answering(self.study, subject) for name, subject in entry.subjects.items()}
        return {name: adapter_of(self.study, trained) for name, trained in found.items() if trained}

    def recipe_report(self, evaluation: str) -> dict[str, Any]:
        """`ReportSettings`: names, conditions, sets, rules, gates, and what is known of the models behind."""
        entry = self.evaluation(evaluation)
        judges = sorted({judge for kind in ("breaks", "rubric", "pairwise") for judge in self.judges(evaluation, kind)})
        return {
            "study": self.study.study,
            "evaluation": evaluation,
            "subjects": {name: self._described(subject) for name, subject in entry.subjects.items()},
            "sets": {name: item.role for name, item in entry.sets.items()},
            "order": {"subjects": list(entry.subjects), "sets": list(entry.sets)},
            "gates": entry.gates.model_dump(),
            "rules": entry.rules.model_dump(),
            "categories": list(entry.categories),
            "families": {name: family_of_subject(self.study, subject) for name, subject in entry.subjects.items()},
            "judge_families": {name: family_of_model(self.study, name) for name in judges},
            "adapters": self._adapters(entry),
            "datasets": self._datasets(entry),
            "decontaminated": self._decontaminated(evaluation),
        }

    def expected(self, evaluation: str) -> dict[str, Any]:
        """What the estimate of calls needs of an evaluation: its section, with sets and pairs written out."""
        entry = self.evaluation(evaluation)
        found = entry.model_dump()
        found["prompts"] = {name: item.model_dump() for name, item in entry.sets.items()}
        if entry.pairwise is not None:
            control = [(entry.pairwise.control,) * 2] if entry.pairwise.control else []
            found["pairwise"]["pairs"] = [*entry.compared, *control]
        return found

    def _described(self, subject: Subject) -> dict[str, Any]:
        """What the study says of a subject; a recorded file by its name alone, wherever it lies."""
        told = {key: value for key, value in subject.model_dump().items() if value not in (None, [])}
        if subject.model and (trained := answering(self.study, subject)):
            told["serve"] = way_of(trained)
        return {**told, "recorded": Path(subject.recorded).name} if subject.recorded else told
