"""Families of models: a judge that judges a relative of its own may prefer it."""

import re

from stillhouse.study.evaluations import Subject
from stillhouse.study.models import LlamaCppModel, OpenAIModel
from stillhouse.study.study import Study

EMBEDDED = "smollm"
_WORD = re.compile(r"[A-Za-z]+")
_VENDORS = {"claude": "anthropic", "gpt": "openai", "chatgpt": "openai", "gemini": "google", "gemma": "google"}
_VENDORS |= {"qwen": "qwen", "qwq": "qwen", "llama": "meta", "mixtral": "mistral", "mistralai": "mistral"}


def family_of_model(study: Study, name: str) -> str | None:
    """The family that the study gives a model, else a guess by its name at the server; None where nothing is known.

    `qwen/qwen3.6-plus` is of family qwen, `claude-sonnet` of anthropic.
    """
    model = study.models[name]
    if model.family is not None:
        return model.family
    if isinstance(model, OpenAIModel):
        return _guess(model.model)
    return EMBEDDED if isinstance(model, LlamaCppModel) and model.weights == "embedded" else None


def _guess(served: str) -> str | None:
    word = _WORD.match(served.split("/")[0].lower())
    return _VENDORS.get(word[0], word[0]) if word else None


def family_of_subject(study: Study, subject: Subject) -> str | None:
    """The family of what answers for a subject; an adapter is of its base's."""
    if subject.model is not None:
        return family_of_model(study, subject.model)
    adapter = adapter_of(study, subject)
    return family_of_model(study, study.adapters[adapter].base) if adapter else None


def adapter_of(study: Study, subject: Subject) -> str | None:
    """The adapter behind a subject, None where there is none."""
    return subject.adapter or (study.exports[subject.export].adapter if subject.export else None)
