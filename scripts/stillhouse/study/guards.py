"""Guards: what a run must not start without being told so on the command line."""

from pydantic import Field

from stillhouse.study.base import Section


class Guards(Section):
    """Bounds of one run; `STILLHOUSE_ALLOW=calls,training` on the command line lifts them."""

    max_paid_calls: int | None = Field(None, ge=0, description="most new calls of a run to openai models that cost")
    max_training_minutes: float | None = Field(
        None, gt=0, description="longest training to go on with, told from its first steps"
    )
