"""What an evaluation must hold: the rules of its report's words, gates, and guarded categories."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from stillhouse.study.base import Name, Section, Share

Category = Annotated[str, StringConstraints(min_length=1)]


class Guard(Section):
    """Categories that a candidate must not lose against a baseline."""

    candidate: Name = Field(description="the subject that is guarded")
    baseline: Name = Field(description="the subject that it is compared with")
    metric: Literal["rubric", "checks", "capped"] = Field(
        "rubric", description="rubric overall, share of checks passed, or capped markers"
    )
    categories: list[Category] = Field(
        min_length=1, description="categories of prompts; each needs prompts in the sets"
    )
    max_drop: float = Field(0.0, ge=0.0, description="greatest loss of the mean in each category")
    critical_failures: bool = Field(False, description="whether critical failures must not be more than the baseline's")


class Rules(Section):
    """What the report's words mean."""

    margin: float = Field(0.0, ge=0.0, lt=0.5, description="a pair is won when the whole interval is above 0.5 + this")
    equivalence: float = Field(
        0.05, ge=0.0, lt=0.5, description="a pair is tied when the whole interval is within 0.5 +- this"
    )
    level: float = Field(0.95, gt=0.5, lt=1.0, description="level of all intervals, and of Holm's correction")
    power: float = Field(0.8, gt=0.5, lt=1.0, description="power of the effect that a report says it could detect")
    max_unscored: Share = Field(
        0.2, description="greatest share of a judge's verdicts without a score; above it the report fails"
    )


class Gates(Section):
    """Bounds that the report checks."""

    student_over_gold: Share | None = Field(None, description="least share of gold's capped score that students reach")
    leakage: Share | None = Field(None, description="greatest capped score of students on forgetting sets")
    adapter_signal: float | None = Field(None, description="least raw markers of students above every ablation's")
    win_rate: dict[str, Share] = Field({}, description="least win rate, by pair: CANDIDATE_vs_BASELINE")
    rubric: float | None = Field(None, description="least recomputed overall of students")
    breaks: Share | None = Field(None, description="greatest share of students' answers that break character")
    checks: Share | None = Field(None, description="least share of students' checks that pass")
    guards: list[Guard] = Field([], description="categories that a candidate must not lose against a baseline")
    certain: bool = Field(False, description="whether the interval's bound must pass, not the mean alone")
