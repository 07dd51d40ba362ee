"""The `answers` section: prompts with answers that exist already."""

from typing import Literal

from pydantic import Field, model_validator

from stillhouse.study.base import Language, Licence, Section, Terms
from stillhouse.study.prompt_sets import FILE_ENDINGS, Categorise, Sample
from stillhouse.study.quality import Quality

AnswerField = Literal[
    "id", "prompt", "messages", "response", "reasoning", "category", "difficulty", "tools", "ground_truth"
]
"""What a row with an answer may have of its own; anything else is its metadata."""


class AnswerSet(Section):
    """Answers that exist already, each beside its prompt: a source of datasets that asks no model."""

    file: str = Field(description="file or pattern of names (*.jsonl): jsonl, json, csv, tsv or parquet, each also .gz")
    format: Literal["jsonl", "json", "csv", "tsv", "parquet"] | None = Field(
        None, description="of the files; null: by their ending"
    )
    columns: dict[AnswerField, str] = Field({}, description="own field -> the source's column or dotted path")
    categories: list[Categorise] = Field([], description="categories by rule; the first that fits holds")
    sample: Sample | None = Field(None, description="a seeded sample of the answers; null: everything")
    limit: int | None = Field(
        None, ge=1, description="take only so many answers, the same ones whatever the file's order"
    )
    bad_rows: Literal["error", "reject"] = Field(
        "error", description="a row that cannot be read stops the run, or is listed and left out"
    )
    quality: Quality | None = Field(None, description="score every answer, for filters of datasets; null: do not")
    licence: Licence | None = Field(None, description="licence of prompts and answers, for cards and exports")
    terms: Terms = Field(Terms(), description="what else holds for them: what their maker's provider allows, say")
    language: Language | None = Field(None, description="language of the prompts, for cards: en, de, fr ...")

    @model_validator(mode="after")
    def _holds_answers(self) -> "AnswerSet":
        name = self.file.lower().removesuffix(".gz")
        ending = name[name.rfind(".") :] if "." in name else ""
        if self.format is None and FILE_ENDINGS.get(ending) == "lines":
            raise ValueError(
                f"file: plain lines hold no answers; expected jsonl, json, csv, tsv or parquet, found {ending}"
            )
        return self
