"""What the study says to the readers of cards: front matter for the hub, the parties behind, and what was accepted."""

from typing import Any

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
        "front": {**front_matter(licences), **_languages(study, name)},
        "parties": [party.plain() for party in parties],
    }


def model_card(study: Study, name: str) -> dict[str, Any]:
    """Front matter, parties and accepted terms of an export, as plain JSON types.

    Base and data go by their names on the hub where the study knows them, else by those in the study.
    """
    adapter = study.adapters[study.exports[name].adapter]
    return {
        "front": {
            **front_matter([export_licence(study, name)]),
            "base_model": model_hub(study.models[adapter.base]) or adapter.base,
            "datasets": [study.datasets[adapter.dataset].hub or adapter.dataset],
            **_languages(study, adapter.dataset),
        },
        "parties": [party.plain() for party in export_parties(study, name)],
        "accepted": [{"name": cause.name, "words": cause.words} for cause in accepted(study, name)],
    }


def _languages(study: Study, dataset: str) -> dict[str, list[str]]:
    """The languages of the prompts behind a dataset; nothing where none is known."""
    names = [source.generation for source in study.datasets[dataset].sources]
    sets = [study.answers.get(name) or study.prompts[study.generations[name].prompts] for name in names]
    found = sorted({prompts.language for prompts in sets if prompts.language})
    return {"language": found} if found else {}
