"""What judging needs of the study."""

from pydantic import Field

from stillhouse.study.base import Sampling, Section


class RubricSettings(Section):
    """How answers are scored. `limit` takes the first prompts of each target set in the order of prompt_id.

    `recorded` names the subjects whose judgements are recorded, in the order of the files.
    """

    judges: list[str] = []
    subjects: list[str] = []
    recorded: list[str] = []
    repeats: int = Field(1, ge=1)
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class PairwiseSettings(Section):
    """How subjects are compared. `limit` as in `RubricSettings`; `control` is compared with itself."""

    pairs: list[tuple[str, str]] = []
    judges: list[str] = []
    repeats: int = Field(1, ge=1)
    axes: list[str] = []
    reasons: bool = False
    control: str | None = None
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class BreakSettings(Section):
    """Who is asked for character breaks besides the patterns. `limit` as in `RubricSettings`."""

    judges: list[str] = []
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class CheckSettings(Section):
    """How a tournament's answers are compared with its drafts. `limit` takes the first prompts by prompt_id."""

    judges: list[str] = Field(min_length=1)
    limit: int | None = Field(None, ge=1)
    sampling: Sampling


class ScoreSettings(Section):
    """How one model scores answers; more than `max_unscored` of them without a score stop the job."""

    judge: str
    scale: tuple[int, int]
    repeats: int = Field(1, ge=1)
    sampling: Sampling
    max_unscored: float = Field(ge=0.0, le=1.0)
