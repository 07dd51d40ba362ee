"""Licences: the hub's names for them, what they permit, and what stands against shipping an export.

The names are those of https://huggingface.co/docs/hub/repositories-licenses. What a licence permits is read
narrowly: one that restricts uses (the RAIL family, Llama, Gemma) or that is not in the list says nothing here, and the
study's `terms` must. This is bookkeeping, no legal advice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from stillhouse.study.adapters import MergedExport
from stillhouse.study.base import Terms
from stillhouse.study.bases import base_model, trained_on
from stillhouse.study.faults import nearest
from stillhouse.study.models import LlamaCppModel, Model, TrainedModel
from stillhouse.study.served import adapter_of
from stillhouse.study.study import Study

EMBEDDED_LICENCE, EMBEDDED_HUB = "apache-2.0", "HuggingFaceTB/SmolLM2-135M-Instruct"

FREE = [
    "afl-3.0",
    "apache-2.0",
    "artistic-2.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "bsl-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc0-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "ecl-2.0",
    "etalab-2.0",
    "isc",
    "mit",
    "ncsa",
    "odc-by",
    "ofl-1.1",
    "pddl",
    "postgresql",
    "unlicense",
    "wtfpl",
    "zlib",
]
SHARE_ALIKE = [
    "agpl-3.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cdla-sharing-1.0",
    "epl-1.0",
    "epl-2.0",
    "eupl-1.1",
    "gfdl",
    "gpl",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl",
    "lgpl-2.1",
    "lgpl-3.0",
    "lgpl-lr",
    "lppl-1.3c",
    "mpl-2.0",
    "ms-pl",
    "odbl",
    "osl-3.0",
]
NON_COMMERCIAL = ["cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"]
NON_COMMERCIAL_SHARE_ALIKE = ["cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"]
NO_DERIVATIVES = ["cc-by-nd-4.0"]
NON_COMMERCIAL_NO_DERIVATIVES = ["cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"]
RESTRICTED = [
    "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0",
    "bigscience-openrail-m",
    "c-uda",
    "cc",
    "creativeml-openrail-m",
    "deepfloyd-if-license",
    "gemma",
    "llama2",
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "llama4",
    "openrail",
    "openrail++",
]

PERMITS: dict[str, Terms] = {
    **dict.fromkeys(FREE, Terms(training=True, commercial=True, share_alike=False)),
    **dict.fromkeys(SHARE_ALIKE, Terms(training=True, commercial=True, share_alike=True)),
    **dict.fromkeys(NON_COMMERCIAL, Terms(training=True, commercial=False, share_alike=False)),
    **dict.fromkeys(NON_COMMERCIAL_SHARE_ALIKE, Terms(training=True, commercial=False, share_alike=True)),
    **dict.fromkeys(NO_DERIVATIVES, Terms(training=False, commercial=True, share_alike=False)),
    **dict.fromkeys(NON_COMMERCIAL_NO_DERIVATIVES, Terms(training=False, commercial=False, share_alike=False)),
}
"""What the licences that can be read without their text permit."""

HUB_NAMES = frozenset({*PERMITS, *RESTRICTED})

KINDS = ("unknown", "no-training", "non-commercial", "share-alike")
"""What can stand against an export; `exports.NAME.accept_terms` holds them as `KEY:KIND`."""


@dataclass(frozen=True)
class Party:
    """What an export is made of: prompts, answers or a model, by key in the study, and the part that it plays."""

    key: str
    part: str
    licence: str | None
    terms: Terms

    def resolved(self) -> Terms:
        """What holds: the study's own terms, and where they say nothing the licence's."""
        by_licence = PERMITS.get(hub_licence(self.licence) or "", Terms())
        given = {name: value for name, value in self.terms.model_dump().items() if value is not None}
        return by_licence.model_copy(update=given)

    def plain(self) -> dict[str, Any]:
        """For the cards."""
        return {"key": self.key, "part": self.part, "licence": self.licence, "terms": self.resolved().model_dump()}


@dataclass(frozen=True)
class Cause:
    """Why an export may not be shipped as it is: which party, of which kind, and in words."""

    key: str
    kind: str
    words: str

    @property
    def name(self) -> str:
        """As `accept_terms` names it."""
        return f"{self.key}:{self.kind}"


def hub_licence(licence: str | None) -> str | None:
    """The hub's identifier of a licence given by hub or SPDX identifier; None for any other text."""
    name = re.sub(r"-(only|or-later)$", "", (licence or "").strip().lower())
    return name if name in HUB_NAMES else None


def front_matter(licences: list[str | None]) -> dict[str, Any]:
    """`license` and `license_name` of a card as the hub takes them; a list of several is for datasets only."""
    names = list(dict.fromkeys("unknown" if each is None else hub_licence(each) or "other" for each in licences))
    others = list(dict.fromkeys(each for each in licences if each is not None and not hub_licence(each)))
    found: dict[str, Any] = {"license": names[0] if len(names) == 1 else names}
    return {**found, "license_name": ", ".join(others)} if others else found


def model_licence(model: Model) -> str | None:
    """A model's licence as the study gives it; that of the embedded one is known."""
    return model.licence or (EMBEDDED_LICENCE if getattr(model, "weights", None) == "embedded" else None)


def model_hub(model: LlamaCppModel) -> str | None:
    """A model's name on the hub as the study gives it; that of the embedded one is known."""
    return model.hub or (EMBEDDED_HUB if model.weights == "embedded" else None)


def dataset_parties(study: Study, name: str) -> list[Party]:
    """Prompt sets behind a dataset, answers of files, then the models that were asked, each once with all its roles.

    Critics and judges count: what they wrote chose or changed the answers. So do models whose scores chose them, models
    that wrote the prompts, and everyone behind answers that are the rejected side of pairs. For a model that the study
    trained stand its base and everything behind its training: whose terms hold for its answers too.
    """
    dataset = study.datasets[name]
    others = dataset.pairs.generations if dataset.format == "preference" else []
    sources = dict.fromkeys([*(source.generation for source in dataset.sources), *others])
    generations = [one for one in sources if one in study.generations]
    sets = dict.fromkeys(study.generations[generation].prompts for generation in generations)
    parties = [Party(f"prompts.{key}", "prompts", study.prompts[key].licence, study.prompts[key].terms) for key in sets]
    for key in (one for one in sources if one in study.answers):
        parties.append(
            Party(f"answers.{key}", "prompts and answers", study.answers[key].licence, study.answers[key].terms)
        )
    roles: dict[str, list[str]] = {}
    for role, model in [*_asked_by(study, generations), *_scoring(study, name), *_expanding(study, list(sets))]:
        roles.setdefault(model, []).append(role)
    trained = []
    for name, held in roles.items():
        model = study.models[name]
        if isinstance(model, TrainedModel):
            trained += _behind_trained(study, name, adapter_of(study, model))
        else:
            parties.append(Party(f"models.{name}", ", ".join(dict.fromkeys(held)), model_licence(model), model.terms))
    return _joined([*parties, *trained])


def _behind_trained(study: Study, model: str, adapter: str) -> list[Party]:
    """Base and training of a model that the study trains, each told as such."""
    base, *behind = adapter_parties(study, adapter)
    return [replace(base, part=f"base of {model}"), *(replace(party, part=f"training of {model}") for party in behind)]


def _joined(parties: list[Party]) -> list[Party]:
    """Each party once, with all its parts."""
    found: dict[str, Party] = {}
    for party in parties:
        met = found.get(party.key)
        parts = [*(met.part.split(", ") if met else []), *party.part.split(", ")]
        found[party.key] = replace(party, part=", ".join(dict.fromkeys(parts)))
    return list(found.values())


def _asked_by(study: Study, generations: list[str]) -> Iterator[tuple[str, str]]:
    """(role, model) of everyone that generations ask."""
    for entry in (study.generations[name] for name in generations):
        roles = entry.roles
        yield "teacher", roles.teacher or entry.model
        yield from (("teacher", model) for route in entry.routes for model in route.models)
        if entry.method == "dialogue":
            yield "partner", entry.dialogue.partner or entry.model
        if entry.method == "tournament":
            for role in ("critic", "author", "synthesizer"):
                yield role, getattr(roles, role) or entry.model
            yield from (("judge", judge) for judge in roles.judges or [entry.model])


def _scoring(study: Study, dataset: str) -> Iterator[tuple[str, str]]:
    """(role, model) of the models whose scores chose rows of a dataset."""
    for source in study.datasets[dataset].scored_sources:
        entry = study.generations.get(source) or study.answers.get(source)
        if entry and entry.quality:
            yield "quality", entry.quality.model


def _expanding(study: Study, sets: list[str]) -> Iterator[tuple[str, str]]:
    """(role, model) of the models that wrote prompts."""
    expansions = (study.prompts[name].expand for name in sets)
    yield from (("prompts", expansion.model) for expansion in expansions if expansion)


def export_parties(study: Study, name: str) -> list[Party]:
    """The base of an export, and everything behind all the data that it was trained on, as of its adapter."""
    return adapter_parties(study, study.exports[name].adapter)


def adapter_parties(study: Study, adapter: str) -> list[Party]:
    """The base of an adapter first, and everything behind all the data that it was trained on, once with all its parts.

    The base is the model at the bottom; what earlier exports between were made of counts as their training data does.
    """
    base = base_model(study, adapter)
    found = Party(f"models.{base}", "base", model_licence(study.models[base]), study.models[base].terms)
    behind = [party for dataset in trained_on(study, adapter) for party in dataset_parties(study, dataset)]
    return [found, *_joined(behind)]


def export_licence(study: Study, name: str) -> str | None:
    """The licence that an export is shipped under: its own, else that of its base, which may be an export too."""
    export = study.exports[name]
    base = study.adapters[export.adapter].base
    below = export_licence(study, base.export) if isinstance(base, MergedExport) else model_licence(study.models[base])
    return export.licence or below


def causes(study: Study, name: str) -> list[Cause]:
    """Everything that stands against an export, accepted or not, once each."""
    shipped = export_licence(study, name)
    found = [cause for party in export_parties(study, name) for cause in _causes(party, shipped)]
    return list({cause.name: cause for cause in reversed(found)}.values())[::-1]


def _causes(party: Party, shipped: str | None) -> Iterator[Cause]:
    terms, licence = party.resolved(), party.licence or "no licence"
    if terms.training is None:
        told = f"licence {party.licence!r} is not one that can be read" if party.licence else "it has no licence"
        yield Cause(party.key, "unknown", f"whether {party.key} may be trained on is unknown ({told})")
    if terms.training is False:
        yield Cause(party.key, "no-training", f"{party.key} may not be trained on ({licence})")
    if terms.commercial is False and PERMITS.get(hub_licence(shipped) or "", Terms()).commercial is not False:
        words = f"{party.key} is not for commercial use ({licence}), and {shipped or 'no licence'} does not say so"
        yield Cause(party.key, "non-commercial", words)
    if terms.share_alike and _same(party.licence) != _same(shipped):
        words = f"{party.key} has to be shared alike ({licence}), and the export's licence is {shipped or 'unknown'}"
        yield Cause(party.key, "share-alike", words)


def _same(licence: str | None) -> str | None:
    """A licence in the form in which two spellings of it are equal."""
    return hub_licence(licence) or licence


def accepted(study: Study, name: str) -> list[Cause]:
    """What stands against an export and is accepted in the study."""
    return [cause for cause in causes(study, name) if cause.name in study.exports[name].accept_terms]


def check_terms(study: Study, name: str) -> Iterator[str]:
    """Faults of an export's terms, as planning tells them: what is not accepted, and what accepts nothing."""
    path = f"exports.{name}"
    yield from _misnamed(study, f"{path}.accept_terms", study.exports[name].accept_terms)
    stopping = [cause for cause in causes(study, name) if cause.name not in study.exports[name].accept_terms]
    if stopping:
        parties = " and ".join(f"{key}.licence or .terms" for key in dict.fromkeys(cause.key for cause in stopping))
        names = ", ".join([*study.exports[name].accept_terms, *(cause.name for cause in stopping)])
        yield (
            f"{path}: it may not be shipped as it is: {'; '.join(cause.words for cause in stopping)}. Say what holds in "
            f"{parties}, or accept it: `{path}.accept_terms: [{names}]`"
        )


def _misnamed(study: Study, path: str, entries: list[str]) -> Iterator[str]:
    models = [model for model in study.models if not isinstance(study.models[model], TrainedModel)]
    sections = {"prompts": study.prompts, "answers": study.answers, "models": models}
    keys = [f"{section}.{name}" for section, entries in sections.items() for name in entries]
    for number, entry in enumerate(entries):
        key, _, kind = entry.rpartition(":")
        if kind not in KINDS:
            yield f"{path}[{number}]: {entry!r} does not end in :{', :'.join(KINDS)}"
        elif key not in keys:
            yield f"{path}[{number}]: no {key!r} in the study{nearest(key, keys)}"
