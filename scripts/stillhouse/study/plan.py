"""What each rule needs of the study: its inputs by name and its recipe, the narrowest values that decide a result.

Rules call nothing else of the study. Every `recipe_*` returns plain JSON types; every `inputs_*` returns
paths as the rules name them.
"""

from pathlib import Path
from typing import Any

from stillhouse.errors import StudyError
from stillhouse.study.bases import BaseFiles, base_files, base_model, base_name
from stillhouse.study.cards import model_card
from stillhouse.study.coverage import uncovered_categories
from stillhouse.study.dataset_plan import DatasetParts
from stillhouse.study.evaluation_plan import EvaluationParts
from stillhouse.study.excludes import concerning
from stillhouse.study.files import StudyFiles, missing_files, unknown_sources
from stillhouse.study.generation_plan import GenerationParts
from stillhouse.study.models import LlamaCppModel, RecordedModel, TrainedModel
from stillhouse.study.prices import price_of
from stillhouse.study.prompt_plan import PromptParts
from stillhouse.study.served import ServedFiles, identity_of, served_files, served_memory
from stillhouse.study.study import Study, join_faults, load_study

Inputs = dict[str, str | list[str]]


def load_plan(config: dict[str, Any], working: Path, workflow: Path) -> "Plan":
    """Validate the study and look for its files; raises `StudyError` with every fault."""
    study, files = load_study(config), StudyFiles(working, workflow)
    faults = [*missing_files(study, files), *unknown_sources(study, files)]
    faults = faults or uncovered_categories(study, files)
    if faults:
        raise StudyError(join_faults(faults))
    return Plan(study, files)


class Plan(PromptParts, GenerationParts, DatasetParts, EvaluationParts):
    """A validated study as the rules see it."""

    def __init__(self, study: Study, files: StudyFiles) -> None:
        self.study, self._files = study, files

    # models

    def hf_source(self, model: str) -> bool:
        """Whether a model's weights come as a Hugging Face directory."""
        entry = self.study.models[model]
        return isinstance(entry, LlamaCppModel) and Path(self._files.find(entry.weights)).is_dir()

    def source_files(self, model: str) -> list[str]:
        """The files that a local model is made from; none for the embedded one."""
        weights = self.study.models[model].weights
        if weights == "embedded":
            return []
        found = self._files.find(weights)
        if not Path(found).is_dir():
            return [found]
        kinds = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
        return sorted(path.as_posix() for kind in kinds for path in Path(found).glob(kind))

    def recipe_model(self, model: str) -> dict[str, Any]:
        """Where a local model's weights come from: `embedded`, `gguf` or `huggingface`."""
        entry = self.study.models[model]
        kind = "huggingface" if self.hf_source(model) else "gguf"
        return {"source": "embedded" if entry.weights == "embedded" else kind}

    @property
    def local_models(self) -> list[str]:
        """Models whose weights the study brings along."""
        return [name for name, entry in self.study.models.items() if isinstance(entry, LlamaCppModel)]

    def model_inputs(self, models: list[str]) -> Inputs:
        """Digests of local and trained models (their weights come as `ancient` beside) and files of recorded ones."""
        local = [m for m in models if isinstance(self.study.models[m], LlamaCppModel)]
        recorded = [m for m in models if isinstance(self.study.models[m], RecordedModel)]
        digests = [f"results/models/{m}/gguf.digests.json" for m in local]
        trained = dict.fromkeys(file for files in self._trained_files(models) for file in files.digests)
        return {
            "model_digests": [*digests, *(file for file in trained if file not in digests)],
            "recorded": [self._files.find(self.study.models[m].file) for m in recorded],
        }

    def model_weights(self, models: list[str]) -> list[str]:
        """The large files of local and trained models."""
        weights = [f"results/models/{m}/model.gguf" for m in models if isinstance(self.study.models[m], LlamaCppModel)]
        trained = dict.fromkeys(file for files in self._trained_files(models) for file in files.weights)
        return [*weights, *(file for file in trained if file not in weights)]

    def trained_models(self, models: list[str]) -> list[TrainedModel]:
        """Those of `models` that the study trains, each once."""
        entries = (self.study.models[name] for name in dict.fromkeys(models))
        return [entry for entry in entries if isinstance(entry, TrainedModel)]

    def _trained_files(self, models: list[str]) -> list[ServedFiles]:
        return [served_files(self.study, entry) for entry in self.trained_models(models)]

    def asking_memory(self, models: list[str]) -> int:
        """MiB that a job may take which asks `models`: what the study trains runs in engines of its own."""
        return max(2000, sum(served_memory(entry) for entry in self.trained_models(models)))

    def identity(self, model: str) -> dict[str, Any]:
        """What the study decides of a model's identity; the sha256 of weights comes with the inputs."""
        entry = self.study.models[model]
        if isinstance(entry, TrainedModel):
            return {"name": model, **identity_of(self.study, entry)}
        if isinstance(entry, LlamaCppModel):
            return {"name": model, "backend": entry.backend, "context": entry.context}
        if isinstance(entry, RecordedModel):
            return {"name": model, "backend": entry.backend}
        found = {"name": model, "backend": entry.backend, "model": entry.model}
        usual = entry.structured == type(entry).model_fields["structured"].default
        return found if usual else {**found, "structured": entry.structured}

    def _excluded(self, name: str, file: str) -> dict[str, list[str]]:
        return concerning(self.study.exclude, name, file, self._files.find)

    def _optional(self, path: str | None) -> list[str]:
        return [] if path is None else [self._files.find(path)]

    # adapters and exports

    def recipe_adapter(self, name: str) -> dict[str, Any]:
        """`TrainSettings` of an adapter, and the name of its base."""
        adapter = self.study.adapters[name]
        return {
            "base": base_name(adapter),
            "train": {
                "objective": adapter.objective,
                "quantization": adapter.quantization,
                "lora": adapter.lora.model_dump(),
                "training": adapter.training.model_dump(exclude={"checkpoint_minutes"}),
            },
        }

    def starts_of(self, adapter: str) -> list[str]:
        """The adapter that a training goes on from, as a list; empty where it starts anew."""
        start = self.study.adapters[adapter].init
        return [start] if start else []

    def base_of(self, adapter: str) -> str:
        """Name of the model at the bottom of an adapter."""
        return base_model(self.study, adapter)

    def base_files(self, adapter: str) -> BaseFiles:
        """Where the base of an adapter lies, a model's or the merged one of an export."""
        return base_files(self.study, adapter)

    def recipe_export(self, name: str) -> dict[str, Any]:
        """Names that an export carries in its metadata."""
        adapter = self.study.exports[name].adapter
        context = self.study.models[self.base_of(adapter)].context
        return {"export": name, "adapter": adapter, "base": base_name(self.study.adapters[adapter]), "context": context}

    def recipe_card(self, name: str) -> dict[str, Any]:
        """What a model card tells besides what its inputs say."""
        export = self.study.exports[name]
        adapter = self.study.adapters[export.adapter]
        return {
            **self.recipe_export(name),
            "study": self.study.study,
            "quants": list(export.quants),
            "adapter_gguf": export.adapter_gguf,
            "dataset": adapter.dataset,
            "recipe": self.recipe_adapter(export.adapter)["train"],
            **model_card(self.study, name),
        }

    def dataset_of(self, export: str) -> str:
        """Name of the dataset that an export's adapter was trained on."""
        return self.study.adapters[self.study.exports[export].adapter].dataset

    def by_importance(self, export: str, quant: str) -> bool:
        """Whether a quantisation is made by an importance matrix; those of 8 bits gain nothing by it."""
        return self.study.exports[export].importance and quant not in ("f16", "Q8_0")

    def quants(self, name: str) -> list[str]:
        """GGUF files of an export that are a model of their own."""
        return list(dict.fromkeys(["f16", *self.study.exports[name].quants]))

    def recipe_fidelity(self, name: str) -> dict[str, Any]:
        """Which files of an export are measured, and how."""
        fidelity = self.study.exports[name].fidelity
        return {"quants": self.quants(name), "fidelity": fidelity.model_dump() if fidelity else None}

    def ggufs(self, name: str) -> list[str]:
        """Suffixes of the GGUF files of an export: its quantisations, f16, and `adapter` where it is made."""
        export = self.study.exports[name]
        return [*self.quants(name), *(["adapter"] if export.adapter_gguf else [])]

    def modelfile_gguf(self, name: str) -> str:
        """The quantisation that the Modelfile runs: the first one that the study names."""
        return (self.study.exports[name].quants or ["f16"])[0]

    # estimate

    def recipe_estimate(self) -> dict[str, Any]:
        """What the estimate of calls and tokens needs: generations, scored answers and judged evaluations."""
        return {
            "generations": {
                name: {**item.model_dump(), "system": self._optional(item.system)}
                for name, item in self.study.generations.items()
            },
            "answers": {name: item.quality.model_dump() for name, item in self.study.answers.items() if item.quality},
            "evaluations": {name: self.expected(name) for name in self.study.evaluations},
            "prices": {
                name: price.model_dump()
                for name, model in self.study.models.items()
                if (price := price_of(model)) is not None
            },
            "models": sorted(self.study.models),
            "api_models": sorted(name for name, model in self.study.models.items() if model.backend == "openai"),
        }
