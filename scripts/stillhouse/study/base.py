"""What all sections of the study share: the strict base model, names and small value types."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=80)]
"""A name of a model, prompt set, generation ...; it becomes a file name, so it is kept plain."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]


def _line(text: str) -> str:
    if len(text.splitlines()) != 1 or not text.strip():
        raise ValueError(f"expected one line of text; found {text[:80]!r}")
    return text.strip()


Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(_line)]
"""One line of text for the cards."""

Licence = Line
"""A licence: SPDX or hub identifier (`apache-2.0`), or a line of text for any other."""

HubName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", max_length=200)]
"""A repository on the Hugging Face hub, as in `owner/name`."""

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
"""ISO 639 code of a language, as the hub takes it."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression of Python's `re`."""


class Section(BaseModel):
    """A part of the study: unknown keys are refused, an empty part has its defaults, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_parts(cls, value: Any) -> Any:
        """`lora:` with nothing below it is None in YAML and means the part's defaults."""
        if not isinstance(value, dict):
            return value
        parts = {key for key, field in cls.model_fields.items() if isinstance(field.default, Section | dict)}
        return {key: part for key, part in value.items() if part is not None or key not in parts}


class Terms(Section):
    """What may be done with a text, where the licence does not say it or something else was agreed.

    `null` leaves it to the licence; a licence that nobody knows leaves it open, and an open question stops an export.
    """

    training: bool | None = Field(None, description="whether models may be trained on it")
    commercial: bool | None = Field(None, description="whether it may be used commercially")
    share_alike: bool | None = Field(None, description="whether what is made of it must carry the same licence")
    note: Line | None = Field(None, description="one line for the cards: the agreement, or its URL")


class Sampling(Section):
    """How tokens are drawn; all of it is part of a call's identity."""

    temperature: float = Field(0.0, ge=0.0, description="0 decodes greedily")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="nucleus sampling: share of probability kept")
    top_k: int | None = Field(None, ge=1, description="keep the k likeliest tokens; null: no limit")
    min_p: float | None = Field(None, ge=0.0, le=1.0, description="drop tokens below this share of the likeliest")
    max_tokens: int = Field(256, ge=1, description="most new tokens in one answer")
    stop: list[str] = Field([], description="texts that end an answer")
    seed: int = Field(7, ge=0, description="each call's seed derives from it, the prompt, the role and the round")
