"""Rings: an adapter that stands on itself, by trainings, or by answers, prompts and scores of a model that it is."""

from collections.abc import Iterator

from stillhouse.study.adapters import Adapter, MergedExport
from stillhouse.study.generations import Generation
from stillhouse.study.models import TrainedModel
from stillhouse.study.study import Study

Edge = tuple[str, str]
"""The key that names what something is made from, and that as a key of the study: (`init`, `adapters.first`)."""


def ring(study: Study, adapter: str) -> tuple[str, list[str]] | None:
    """How an adapter stands on itself: the key that leads there, and the way as keys of the study; None where it does not."""
    goal = f"adapters.{adapter}"
    for key, below in made_from(study, goal):
        if way := _way(study, below, goal, set()):
            return key, [goal, *way]
    return None


def _way(study: Study, here: str, goal: str, met: set[str]) -> list[str]:
    """The way from `here` down to `goal`, as keys; empty where there is none."""
    if here == goal:
        return [here]
    if here in met:
        return []
    met.add(here)
    ways = (_way(study, below, goal, met) for _, below in made_from(study, here))
    return next(([here, *way] for way in ways if way), [])


def made_from(study: Study, key: str) -> Iterator[Edge]:
    """What the entry `key` of the study is made from, as far as that is trained or asked; what is not there has nothing."""
    section, _, name = key.partition(".")
    entry = getattr(study, section).get(name)
    if section == "adapters" and entry:
        yield from _of_adapter(entry)
    if section == "exports" and entry:
        yield "adapter", f"adapters.{entry.adapter}"
    if section == "datasets" and entry:
        yield from _of_dataset(study, name)
    if section == "generations" and entry:
        yield from _of_generation(entry)
    if section == "prompts" and entry and entry.expand:
        yield "expand.model", f"models.{entry.expand.model}"
    if isinstance(entry, TrainedModel):
        yield ("adapter", f"adapters.{entry.adapter}") if entry.adapter else ("export", f"exports.{entry.export}")


def _of_adapter(adapter: Adapter) -> Iterator[Edge]:
    if adapter.init:
        yield "init", f"adapters.{adapter.init}"
    if isinstance(adapter.base, MergedExport):
        yield "base.export", f"exports.{adapter.base.export}"
    yield "dataset", f"datasets.{adapter.dataset}"


def _of_dataset(study: Study, name: str) -> Iterator[Edge]:
    """Answers that its rows are made of, and models whose scores choose among them."""
    dataset = study.datasets[name]
    others = dataset.pairs.generations if dataset.format == "preference" else []
    named = [("sources", source.generation) for source in dataset.sources]
    for key, answers in [*named, *(("pairs.rejected", other) for other in others)]:
        yield key, f"generations.{answers}"
    for answers in dataset.scored_sources:
        entry = study.generations.get(answers) or study.answers.get(answers)
        if entry and entry.quality:
            yield "quality", f"models.{entry.quality.model}"


def _of_generation(generation: Generation) -> Iterator[Edge]:
    yield "prompts", f"prompts.{generation.prompts}"
    for model in generation.asked:
        yield "model", f"models.{model}"
