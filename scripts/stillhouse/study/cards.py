"""What the study says to the readers of cards: front matter for the hub, the parties behind, and what was accepted."""

from typing import Any

from stillhouse.study.adapters import MergedExport
from stillhouse.study.bases import base_model, trained_in_turn, trained_on
from stillhouse.study.licences import (
    accepted,
    dataset_parties,
    export_licence,
    export_parties,
    front_matter,
    model_hub,
)
from stillhouse.study.study import Study


def dataset_card(study: Study, name: str) -> dict[str, Any]:
    """Front matter and parties of a dataset, as plain JSON types."""
    licence, parties = study.datasets[name].licence, dataset_parties(study, name)
    licences = [licence] if licence else [party.licence for party in parties]
    return {
        "front": {**front_matter(licences), **_languages(study, [name])},
        "parties": [party.plain() for party in parties],
    }


def model_card(study: Study, name: str) -> dict[str, Any]:
    """Front matter, parties and accepted terms of an export, as plain JSON types.

    Base and data go by their names on the hub where the study knows them, else by those in the study. `stages` are the
    trainings that the adapter went through, the first one first, each with its dataset and whose answers are in it.
    The hub's `base_model` is a model, never an export of the study, which the hub does not know; `stands_on` names the
    export whose merged model the adapter was trained on, where there is one, and that model.
    """
    last = study.exports[name].adapter
    base, datasets = base_model(study, last), trained_on(study, last)
    direct = study.adapters[last].base
    stands_on = {"export": direct.export, "model": base} if isinstance(direct, MergedExport) else None
    return {
        "front": {
            **front_matter([export_licence(study, name)]),
            "base_model": model_hub(study.models[base]) or base,
            "datasets": [study.datasets[dataset].hub or dataset for dataset in datasets],
            **_languages(study, datasets),
        },
        "stages": [_stage(study, adapter) for adapter in trained_in_turn(study, last)],
        "parties": [party.plain() for party in export_parties(study, name)],
        "accepted": [{"name": cause.name, "words": cause.words} for cause in accepted(study, name)],
        **({"stands_on": stands_on} if stands_on else {}),
    }


def _stage(study: Study, adapter: str) -> dict[str, Any]:
    """One training: adapter, objective, dataset, and the sources of its answers by who gave them: models or files."""
    entry = study.adapters[adapter]
    dataset = study.datasets[entry.dataset]
    others = dataset.pairs.generations if dataset.format == "preference" else []
    sources = dict.fromkeys([*(source.generation for source in dataset.sources), *others])
    return {
        "adapter": adapter,
        "objective": entry.objective,
        "dataset": entry.dataset,
        "by_models": [one for one in sources if one in study.generations],
        "by_files": [one for one in sources if one in study.answers],
        **({"on_export": entry.base.export} if isinstance(entry.base, MergedExport) and not entry.init else {}),
    }


def _languages(study: Study, datasets: list[str]) -> dict[str, list[str]]:
    """The languages of the prompts behind datasets; nothing where none is known."""
    names = [source.generation for dataset in datasets for source in study.datasets[dataset].sources]
    sets = [study.answers.get(name) or study.prompts[study.generations[name].prompts] for name in names]
    found = sorted({prompts.language for prompts in sets if prompts.language})
    return {"language": found} if found else {}
