"""Families of models: a judge that judges a relative of its own may prefer it."""

import re
from pathlib import Path

from stillhouse.study.bases import base_model
from stillhouse.study.evaluations import Subject
from stillhouse.study.models import LlamaCppModel, OpenAIModel, TrainedModel
from stillhouse.study.served import adapter_of, answering
from stillhouse.study.study import Study

EMBEDDED = "smollm"
FAMILIES = {
    "claude": "claude", "gpt": "gpt", "gemini": "gemini", "gemma": "gemini", "qwen": "qwen", "qwq": "qwen", "llama": "llama",
    "mistral": "mistral", "mixtral": "mistral", "ministral": "mistral", "deepseek": "deepseek", "smollm": EMBEDDED,
    "phi": "phi", "grok": "grok", "command": "command", "glm": "glm", "kimi": "kimi", "olmo": "olmo", "granite": "granite",
}  # fmt: skip
"""Family by a word that a model's name begins with. A distilled model belongs to the family that it was trained as."""

_WORD = re.compile(r"[a-z]+")
_SERIES = re.compile(r"o\d")


def family_of_model(study: Study, name: str) -> str | None:
    """The family that the study gives a model, else a guess by its name at the server, its file's name or its hub id.

    `qwen/qwen3.6-plus` and `together/Qwen2.5-7B` are of family qwen. None where no known word is in the name. What the
    study trains is of the family of the model at its bottom.
    """
    model = study.models[name]
    if isinstance(model, TrainedModel):
        return family_of_model(study, base_model(study, adapter_of(study, model)))
    if model.family is not None:
        return model.family
    if isinstance(model, OpenAIModel):
        return _guess(model.model)
    if isinstance(model, LlamaCppModel):
        return EMBEDDED if model.weights == "embedded" else _guess(model.hub or Path(model.weights).name)
    return None


def _guess(name: str) -> str | None:
    last = name.lower().rsplit("/", 1)[-1]
    if _SERIES.match(last):
        return "gpt"
    words = _WORD.findall(last)
    return next((family for word in words for key, family in FAMILIES.items() if word.startswith(key)), None)


def family_of_subject(study: Study, subject: Subject) -> str | None:
    """The family of what answers for a subject; an adapter is of that of the model at its bottom."""
    if subject.model is not None:
        return family_of_model(study, subject.model)
    trained = answering(study, subject)
    return family_of_model(study, base_model(study, adapter_of(study, trained))) if trained else None
