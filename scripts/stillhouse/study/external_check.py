"""The `external_check` of a generation: do judges from outside prefer the tournament's answers to its first drafts?"""

from pydantic import Field

from stillhouse.study.base import Name, Sampling, Section


class ExternalCheck(Section):
    """Blind pairwise judging of final answers against first drafts, each pair asked in both orders."""

    judges: list[Name] = Field(min_length=1, description="models that judge; best not one of the generation's own")
    limit: int | None = Field(None, ge=1, description="check only so many prompts, the first by prompt_id; null: all")
    judging: Sampling = Field(Sampling(max_tokens=160), description="how judges answer")
