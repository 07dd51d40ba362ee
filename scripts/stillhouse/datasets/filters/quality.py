"""Filters by the score that a model gave an answer: rule `score_answers`, read beside the answers."""

from dataclasses import dataclass

import pyarrow.compute as pc

from stillhouse.datasets.filters.base import Answer, Columns, Mask, written
from stillhouse.datasets.filters.patterns import as_mask
from stillhouse.datasets.scores import QUALITY


@dataclass(frozen=True)
class Scored:
    """Keeps answers that have a score."""

    reason = "unscored"
    label = "unscored: drop"
    columns = (QUALITY,)

    def keep(self, row: Answer) -> bool:
        return row[QUALITY] is not None

    def mask(self, batch: Columns) -> Mask:
        return as_mask(pc.is_valid(batch.column(QUALITY)))


@dataclass(frozen=True)
class MinQuality:
    """Keeps answers of a score of at least `least`; those without one are the business of `Scored`."""

    least: float
    unscored: str
    reason = "quality"
    columns = (QUALITY,)

    @property
    def label(self) -> str:
        told = {"min": self.least, **({"unscored": "keep"} if self.unscored == "keep" else {})}
        return f"quality: {written(told)}"

    def keep(self, row: Answer) -> bool:
        return row[QUALITY] is None or row[QUALITY] >= self.least

    def mask(self, batch: Columns) -> Mask:
        return as_mask(pc.fill_null(pc.greater_equal(batch.column(QUALITY), self.least), True))
