"""The `quality` of a generation or of an entry of `answers`: a score that a model gives every answer."""

from pydantic import Field, field_validator, model_validator

from stillhouse.study.base import Name, Sampling, Section, Share

WIDEST_SCALE = 100


class Quality(Section):
    """Every answer is scored once or more by one model; filters and the order of datasets may go by the score."""

    model: Name = Field(description="model that scores; best not one that wrote the answers")
    template: str = Field(
        "data/quality/score.j2", description="Jinja template of what it is asked; it has prompt, answer, low and high"
    )
    scale: tuple[int, int] = Field((1, 10), description="lowest and highest score")
    repeats: int = Field(1, ge=1, description="scores of one answer, an odd number: the median counts")
    judging: Sampling = Field(Sampling(max_tokens=160), description="how the model scores")
    max_unscored: Share = Field(0.05, description="a larger share of answers without a score stops the run")

    @field_validator("scale")
    @classmethod
    def _grows(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if scale[0] < 0 or not 0 < scale[1] - scale[0] <= WIDEST_SCALE:
            raise ValueError(f"expected [low, high] with 0 <= low < high <= low + {WIDEST_SCALE}, found {list(scale)}")
        return scale

    @model_validator(mode="after")
    def _median_of_different_ones(self) -> "Quality":
        if self.repeats % 2 == 0:
            raise ValueError(f"repeats must be odd, so that the median is one of the scores; found {self.repeats}")
        if self.repeats > 1 and self.judging.temperature == 0:
            raise ValueError(f"repeats: {self.repeats} greedy scores would be one; set judging: {{temperature: 0.7}}")
        return self
