"""What each rule needs of the study: its inputs by name and its recipe, the narrowest values that decide a result.

Rules call nothing else of the study. Every `recipe_*` returns plain JSON types; every `inputs_*` returns
paths as the rules name them.
"""

from pathlib import Path
from typing import Any

from stillhouse.errors import StudyError
from stillhouse.study.cards import dataset_card, model_card
from stillhouse.study.coverage import uncovered_categories
from stillhouse.study.evaluation_plan import EvaluationParts
from stillhouse.study.excludes import concerning
from stillhouse.study.files import TEMPLATES, StudyFiles, missing_files, unknown_sources
from stillhouse.study.generations import Generation
from stillhouse.study.models import LlamaCppModel, RecordedModel
from stillhouse.study.prices import price_of
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


class Plan(EvaluationParts):
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

    def model_inputs(self, models: list[str]) -> Inputs:
        """Digests of local models (their weights come as `ancient` beside) and files of recorded ones."""
        local = [m for m in models if isinstance(self.study.models[m], LlamaCppModel)]
        recorded = [m for m in models if isinstance(self.study.models[m], RecordedModel)]
        return {
            "model_digests": [f"results/models/{m}/gguf.digests.json" for m in local],
            "recorded": [self._files.find(self.study.models[m].file) for m in recorded],
        }

    def model_weights(self, models: list[str]) -> list[str]:
        """GGUF files of local models."""
        local = [m for m in models if isinstance(self.study.models[m], LlamaCppModel)]
        return [f"results/models/{m}/model.gguf" for m in local]

    def identity(self, model: str) -> dict[str, Any]:
        """What the study decides of a model's identity; the sha256 of weights comes with the inputs."""
        entry = self.study.models[model]
        if isinstance(entry, LlamaCppModel):
            return {"name": model, "backend": entry.backend, "context": entry.context}
        if isinstance(entry, RecordedModel):
            return {"name": model, "backend": entry.backend}
        found = {"name": model, "backend": entry.backend, "model": entry.model}
        usual = entry.structured == type(entry).model_fields["structured"].default
        return found if usual else {**found, "structured": entry.structured}

    # prompts

    def prompts_file(self, name: str) -> str:
        """The file of a prompt set."""
        return self._files.find(self.study.prompts[name].file)

    def recipe_prompts(self, name: str) -> dict[str, Any]:
        """Name and limit of a prompt set, and what of `exclude` can concern it."""
        excluded = self._excluded(name, self.prompts_file(name))
        return {"set": name, "limit": self.study.prompts[name].limit, "exclude": excluded}

    def _excluded(self, name: str, file: str) -> dict[str, list[str]]:
        return concerning(self.study.exclude, name, file, self._files.find)

    # generations

    def generation_models(self, name: str) -> list[str]:
        """Models that a generation asks, sorted."""
        generation = self.study.generations[name]
        roles = generation.roles.model_dump(exclude_none=True)
        judges = roles.pop("judges", [])
        routed = [model for route in generation.routes for model in route.models]
        return sorted({generation.model, *roles.values(), *judges, *routed})

    def inputs_shard(self, name: str) -> Inputs:
        """Inputs of a generation's shards, without the weights."""
        generation = self.study.generations[name]
        return {
            "prompts": f"results/prompts/{generation.prompts}.parquet",
            "system": self._optional(generation.system),
            "grammar": self._optional(generation.grammar),
            "templates": self._templates(generation),
            **self.model_inputs(self.generation_models(name)),
        }

    def _optional(self, path: str | None) -> list[str]:
        return [] if path is None else [self._files.find(path)]

    def _templates(self, generation: Generation) -> list[str]:
        if generation.method == "single":
            return []
        folder = self._files.find(generation.tournament.templates)
        return [f"{folder}/{name}" for name in TEMPLATES]

    def recipe_shard(self, name: str, shard: int) -> dict[str, Any]:
        """`ShardSettings` of one shard, and the identities of its models."""
        generation = self.study.generations[name]
        tournament = generation.tournament.model_dump(exclude={"templates"})
        return {
            "generation": name,
            "method": generation.method,
            "model": generation.model,
            "roles": generation.roles.model_dump(),
            "routes": [route.model_dump() for route in generation.routes],
            "tournament": tournament if generation.method == "tournament" else None,
            "sampling": generation.sampling.model_dump(),
            "shard": shard,
            "shards": generation.shards,
            "models": [self.identity(model) for model in self.generation_models(name)],
        }

    def recipe_merge(self, name: str) -> dict[str, Any]:
        """`MergeSettings` of a generation."""
        return {"generation": name, "failures": self.study.generations[name].failures.model_dump()}

    def shards(self, name: str) -> list[str]:
        """Shard files of a generation."""
        count = self.study.generations[name].shards
        return [f"results/generations/{name}/shards/{shard}.parquet" for shard in range(count)]

    # datasets

    def inputs_dataset(self, name: str) -> Inputs:
        """Answers, marker files and held-out prompts of a dataset."""
        dataset = self.study.datasets[name]
        generations = dict.fromkeys(source.generation for source in dataset.sources)
        against = dataset.decontaminate.against if dataset.decontaminate else []
        held_out = [
            self.evaluation_prompts(evaluation, key)
            for evaluation in against
            for key in self.study.evaluations[evaluation].sets
        ]
        filters = [f for source in dataset.sources for f in source.filters]
        markers = {f.without_markers or f.with_markers for f in filters} - {None}
        return {
            "answers": [f"results/generations/{generation}/answers.parquet" for generation in generations],
            "failures": [f"results/generations/{generation}/failures.parquet" for generation in generations],
            "held_out": held_out,
            "markers": sorted(self._files.find(path) for path in markers),
        }

    def recipe_dataset(self, name: str) -> dict[str, Any]:
        """`BuildSettings` of a dataset, with marker files as the rules name them."""
        dataset = self.study.datasets[name].model_dump(exclude={"licence", "hub"})
        for source in dataset["sources"]:
            source["filters"] = [
                {k: self._files.find(v) if isinstance(v, str) else v for k, v in item.items() if v is not None}
                for item in source["filters"]
            ]
        return {"name": name, "dataset": dataset}

    def recipe_dataset_card(self, name: str) -> dict[str, Any]:
        """`CardSettings` of a dataset: what it was built by, and under which licences and terms."""
        return {**self.recipe_dataset(name), **dataset_card(self.study, name)}

    # adapters and exports

    def recipe_adapter(self, name: str) -> dict[str, Any]:
        """`TrainSettings` of an adapter, and the name of its base."""
        adapter = self.study.adapters[name]
        return {
            "base": adapter.base,
            "train": {
                "objective": adapter.objective,
                "quantization": adapter.quantization,
                "lora": adapter.lora.model_dump(),
                "training": adapter.training.model_dump(),
            },
        }

    def base_of(self, adapter: str) -> str:
        """Name of an adapter's base model."""
        return self.study.adapters[adapter].base

    def recipe_export(self, name: str) -> dict[str, Any]:
        """Names that an export carries in its metadata."""
        adapter = self.study.exports[name].adapter
        base = self.base_of(adapter)
        return {"export": name, "adapter": adapter, "base": base, "context": self.study.models[base].context}

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

    def ggufs(self, name: str) -> list[str]:
        """Suffixes of the GGUF files of an export: its quantisations, f16, and `adapter` where it is made."""
        export = self.study.exports[name]
        return [*dict.fromkeys(["f16", *export.quants]), *(["adapter"] if export.adapter_gguf else [])]

    def modelfile_gguf(self, name: str) -> str:
        """The quantisation that the Modelfile runs: the first one that the study names."""
        return (self.study.exports[name].quants or ["f16"])[0]

    # estimate

    def recipe_estimate(self) -> dict[str, Any]:
        """What the estimate of calls and tokens needs: generations and judged evaluations."""
        return {
            "generations": {
                name: {**item.model_dump(), "system": self._optional(item.system)}
                for name, item in self.study.generations.items()
            },
            "evaluations": {name: self.expected(name) for name in self.study.evaluations},
            "prices": {
                name: price.model_dump()
                for name, model in self.study.models.items()
                if (price := price_of(model)) is not None
            },
            "models": sorted(self.study.models),
            "api_models": sorted(name for name, model in self.study.models.items() if model.backend == "openai"),
        }
