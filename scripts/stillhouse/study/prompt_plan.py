"""What the rules of prompt sets need of the study; a part of `Plan`."""

from pathlib import PurePosixPath
from typing import Any, Protocol

from stillhouse.study.answers import AnswerSet
from stillhouse.study.files import StudyFiles
from stillhouse.study.prompt_sets import Expand, PromptSet
from stillhouse.study.quality import Quality
from stillhouse.study.study import Study

Inputs = dict[str, str | list[str]]


class Parts(Protocol):
    """What `PromptParts` takes from the rest of the plan."""

    study: Study
    _files: StudyFiles

    def identity(self, model: str) -> dict[str, Any]: ...

    def model_inputs(self, models: list[str]) -> Inputs: ...

    def _excluded(self, name: str, file: str) -> dict[str, list[str]]: ...


class PromptParts(Parts):
    """Inputs and recipes of prompt sets."""

    def prompts_files(self, name: str) -> list[str]:
        """The files of a prompt set, sorted: the user's own, those of a local dataset, or what a model wrote."""
        entry = self.study.prompts[name]
        if entry.expand is not None:
            return [f"results/prompts/{name}.expanded.jsonl"]
        if entry.hub is not None:
            return self._files.find_below(entry.hub.name)
        return self._files.find_all(entry.file)

    def recipe_prompts(self, name: str) -> dict[str, Any]:
        """`CollectSettings` of a prompt set; what has its default is left out, except for the limit."""
        entry = self.study.prompts[name]
        named = entry.file or (entry.hub.name if entry.hub else name)
        given = {"format": "jsonl" if entry.expand else entry.format, "hub": self._hub(entry)}
        return {**self._collected(name, entry, named), **{key: value for key, value in given.items() if value}}

    def _collected(self, name: str, entry: PromptSet | AnswerSet, named: str) -> dict[str, Any]:
        """What sets with and without answers have in common; `named` is their source as the study writes it."""
        given = {
            "columns": dict(entry.columns),
            "rules": [rule.model_dump() for rule in entry.categories],
            "sample": entry.sample.model_dump() if entry.sample else None,
            "bad_rows": entry.bad_rows if entry.bad_rows != "error" else None,
        }
        return {
            "set": name,
            "limit": entry.limit,
            "exclude": self._excluded(name, self._files.find(named)),
            **{key: value for key, value in given.items() if value},
        }

    def answers_files(self, name: str) -> list[str]:
        """The files of an entry of `answers`, sorted."""
        return self._files.find_all(self.study.answers[name].file)

    def answers_file(self, name: str) -> str:
        """The table with the answers of a generation or of an entry of `answers`."""
        return f"results/{'answers' if name in self.study.answers else 'generations'}/{name}/answers.parquet"

    def quality_of(self, name: str) -> Quality | None:
        """How the answers of a generation or of an entry of `answers` are scored; None where they are not."""
        entry = self.study.generations.get(name) or self.study.answers.get(name)
        return entry.quality if entry else None

    def quality_file(self, name: str) -> str:
        """The table with the scores of a generation's answers, or of those of an entry of `answers`."""
        return str(PurePosixPath(self.answers_file(name)).with_name("quality.parquet"))

    def quality_template(self, quality: Quality) -> str:
        """The template of what the scoring model is asked: the study's own file, or the shipped one."""
        return self._files.find(quality.template)

    def recipe_answers(self, name: str) -> dict[str, Any]:
        """`CollectSettings` of an entry of `answers`, as of a prompt set."""
        entry = self.study.answers[name]
        kind = {"format": entry.format} if entry.format else {}
        return {**self._collected(name, entry, entry.file), **kind, "answers": True}

    def _hub(self, entry: PromptSet) -> dict[str, Any] | None:
        return entry.hub and {**entry.hub.model_dump(), "name": self._files.find(entry.hub.name)}

    def expanded(self) -> list[str]:
        """Prompt sets that a model writes."""
        return [name for name, entry in self.study.prompts.items() if entry.expand is not None]

    def _expand(self, name: str) -> Expand:
        entry = self.study.prompts[name].expand
        assert entry is not None, f"{name} is no set that a model writes"  # the rule's wildcards say so
        return entry

    def expand_models(self, name: str) -> list[str]:
        """The model that writes a prompt set, as a list; empty where files hold it."""
        entry = self.study.prompts[name].expand
        return [] if entry is None else [entry.model]

    def inputs_expand(self, name: str) -> Inputs:
        """Inputs of an expansion, without the weights."""
        expand = self._expand(name)
        return {
            "templates": self._files.find(expand.templates),
            "domains": [self._files.find(expand.domains)] if isinstance(expand.domains, str) else [],
            "instructions": self._files.find(expand.instructions),
            **self.model_inputs([expand.model]),
        }

    def recipe_expand(self, name: str) -> dict[str, Any]:
        """The settings of an expansion, and its model's identity."""
        expand = self._expand(name)
        domains = None if isinstance(expand.domains, str) else list(expand.domains)
        told = expand.model_dump(exclude={"templates", "instructions", "domains"})
        return {"set": name, "expand": {**told, "domains": domains}, "models": [self.identity(expand.model)]}
