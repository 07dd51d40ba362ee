"""What the rules of generations need of the study; a part of `Plan`."""

from typing import Any, Protocol

from stillhouse.study.files import TEMPLATES, StudyFiles
from stillhouse.study.generations import Generation
from stillhouse.study.study import Study

Inputs = dict[str, str | list[str]]


class Parts(Protocol):
    """What `GenerationParts` takes from the rest of the plan."""

    study: Study
    _files: StudyFiles

    def identity(self, model: str) -> dict[str, Any]: ...

    def model_inputs(self, models: list[str]) -> Inputs: ...

    def _optional(self, path: str | None) -> list[str]: ...


class GenerationParts(Parts):
    """Inputs and recipes of generations."""

    def generation_models(self, name: str) -> list[str]:
        """Models that a generation asks, sorted."""
        return self.study.generations[name].asked

    def inputs_shard(self, name: str) -> Inputs:
        """Inputs of a generation's shards, without the weights."""
        generation, context = self.study.generations[name], self.study.generations[name].context
        talks = generation.method == "dialogue"
        return {
            "prompts": f"results/prompts/{generation.prompts}.parquet",
            "system": self._optional(generation.system),
            "grammar": self._optional(generation.grammar),
            "templates": self._templates(generation),
            "partner_system": self._optional(generation.dialogue.system) if talks else [],
            "corpus": self._files.find_corpus(context.corpus) if context else [],
            "context_template": self._optional(context.template) if context else [],
            **self.model_inputs(self.generation_models(name)),
        }

    def _templates(self, generation: Generation) -> list[str]:
        if generation.method != "tournament":
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
            **self._beyond(generation),
        }

    def _beyond(self, generation: Generation) -> dict[str, Any]:
        """What only some generations have: the others keep the build keys that they had before these settings were."""
        found: dict[str, Any] = {}
        if generation.samples > 1:
            found["samples"] = generation.samples
        if generation.method == "dialogue":
            found["dialogue"] = generation.dialogue.model_dump(exclude={"system"})
        if generation.context is not None:
            told = generation.context.model_dump(exclude={"corpus", "template"})
            found["context"] = {**told, "context_root": self._files.corpus_root(generation.context.corpus)}
        return found

    def recipe_merge(self, name: str) -> dict[str, Any]:
        """`MergeSettings` of a generation."""
        return {"generation": name, "failures": self.study.generations[name].failures.model_dump()}

    def shards(self, name: str) -> list[str]:
        """Shard files of a generation."""
        count = self.study.generations[name].shards
        return [f"results/generations/{name}/shards/{shard}.parquet" for shard in range(count)]
