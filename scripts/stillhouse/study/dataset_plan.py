"""What the rules of datasets need of the study; a part of `Plan`."""

from typing import Any, Protocol

from stillhouse.study.cards import dataset_card
from stillhouse.study.evaluation_plan import EvaluationParts
from stillhouse.study.files import StudyFiles
from stillhouse.study.filters import Filter
from stillhouse.study.quality import Quality
from stillhouse.study.study import Study

Inputs = dict[str, str | list[str]]


class Parts(Protocol):
    """What `DatasetParts` takes from the rest of the plan."""

    study: Study
    _files: StudyFiles

    def answers_file(self, name: str) -> str: ...

    def quality_of(self, name: str) -> Quality | None: ...

    def quality_file(self, name: str) -> str: ...


class DatasetParts(Parts):
    """Inputs and recipes of datasets."""

    def answers_of(self, name: str) -> list[str]:
        """Generations and entries of `answers` that a dataset reads, each once."""
        dataset = self.study.datasets[name]
        others = dataset.pairs.generations if dataset.format == "preference" else []
        return list(dict.fromkeys([*(source.generation for source in dataset.sources), *others]))

    def inputs_dataset(self, name: str) -> Inputs:
        """Answers, files of filters, and held-out prompts of a dataset; its tokenizer comes beside."""
        dataset = self.study.datasets[name]
        generations = dict.fromkeys(source.generation for source in dataset.sources)
        others = dict.fromkeys(dataset.pairs.generations if dataset.format == "preference" else [])
        held_out = [
            EvaluationParts.evaluation_prompts(evaluation, key)
            for evaluation in (dataset.decontaminate.against if dataset.decontaminate else [])
            for key in self.study.evaluations[evaluation].sets
        ]
        scores = [self.quality_file(generation) for generation in self.quality_sources(name)]
        files = {(key, self._files.find(file)) for one in dataset.filters for key, file in one.files.items()}
        return {
            "answers": [self.answers_file(generation) for generation in generations],
            "failures": [
                f"results/generations/{generation}/failures.parquet"
                for generation in generations
                if generation in self.study.generations
            ],
            "others": [self.answers_file(generation) for generation in others],
            "held_out": held_out,
            "markers": sorted(file for key, file in files if key != "python"),
            "python": sorted(file for key, file in files if key == "python"),
            # no key where nothing goes by scores: such a dataset is what it was before there were any
            **({"quality": scores} if scores else {}),
        }

    def quality_sources(self, name: str) -> list[str]:
        """Generations and entries of `answers` whose scores a dataset goes by, each once."""
        return [source for source in self.study.datasets[name].scored_sources if self.quality_of(source)]

    def token_models(self, name: str) -> list[str]:
        """The model whose tokenizer counts a dataset's tokens, as a list; empty where none are counted."""
        tokens = self.study.datasets[name].tokens
        return [tokens.model] if tokens else []

    def recipe_dataset(self, name: str) -> dict[str, Any]:
        """`BuildSettings` of a dataset, with files of filters as the rules name them."""
        dataset = self.study.datasets[name].model_dump(exclude={"licence", "hub", "outputs"})
        for told, source in zip(dataset["sources"], self.study.datasets[name].sources, strict=True):
            told["filters"] = [self._filter(one) for one in source.filters]
        return {"name": name, "dataset": dataset}

    def _filter(self, one: Filter) -> dict[str, Any]:
        told = one.model_dump(exclude_none=True)
        for key, file in one.files.items():
            found = self._files.find(file)
            told[key] = f"{found}:{one.python.rsplit(':', 1)[1]}" if key == "python" and one.python else found
        return told

    def recipe_dataset_card(self, name: str) -> dict[str, Any]:
        """`CardSettings` of a dataset: what it was built by, and under which licences and terms."""
        return {**self.recipe_dataset(name), **dataset_card(self.study, name), "outputs": self.forms(name)}

    def forms(self, name: str) -> list[str]:
        """Other forms that the splits of a dataset are written in, sorted."""
        return sorted(set(self.study.datasets[name].outputs))

    def recipe_conversion(self, name: str, form: str) -> dict[str, Any]:
        """Which form the rows of which format are written in."""
        return {"form": form, "format": self.study.datasets[name].format}
