"""What all sections of the study share: the strict base model, names and small value types."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=80)]
"""A name of a model, prompt set, generation ...; it becomes a file name, so it is kept plain."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the study: unknown keys are refused and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Sampling(Section):
    """How tokens are drawn; all of it is part of a call's identity."""

    temperature: float = Field(0.0, ge=0.0, description="0 decodes greedily")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="nucleus sampling: share of probability kept")
    top_k: int | None = Field(None, ge=1, description="keep the k likeliest tokens; null: no limit")
    min_p: float | None = Field(None, ge=0.0, le=1.0, description="drop tokens below this share of the likeliest")
    max_tokens: int = Field(256, ge=1, description="most new tokens in one answer")
    stop: list[str] = Field([], description="texts that end an answer")
    seed: int = Field(7, ge=0, description="each call's seed derives from it, the prompt, the role and the round")
