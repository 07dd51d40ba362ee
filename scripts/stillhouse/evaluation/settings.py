"""What an evaluation's jobs need of the study."""

from typing import Any

from pydantic import Field

from stillhouse.study.base import Sampling, Section
from stillhouse.study.evaluations import Gates


class RubricSettings(Section):
    """How answers are scored. `limit` takes the first prompts of each target set in the order of prompt_id."""

    judges: list[str] = Field(min_length=1)
    subjects: list[str] = Field(min_length=1)
    repeats: int = Field(1, ge=1)
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class PairwiseSettings(Section):
    """How subjects are compared. `limit` as in `RubricSettings`."""

    pairs: list[tuple[str, str]] = Field(min_length=1)
    judges: list[str] = Field(min_length=1)
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class CheckSettings(Section):
    """How a tournament's answers are compared with its drafts. `limit` takes the first prompts by prompt_id."""

    judges: list[str] = Field(min_length=1)
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class ReportSettings(Section):
    """What a report needs besides responses and judgements."""

    study: str
    evaluation: str
    subjects: dict[str, dict[str, Any]]  # as the study describes them, in its order
    sets: dict[str, str]  # role (target or forgetting) by prompt set, in the study's order
    gates: Gates = Gates()
    examples: int = Field(3, ge=0)  # prompts of each set whose answers stand side by side
