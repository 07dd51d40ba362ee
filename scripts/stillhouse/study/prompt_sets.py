"""The `prompts` section: where prompts come from."""

from typing import Literal

from pydantic import Field, model_validator

from stillhouse.study.base import Language, Licence, Name, Pattern, Sampling, Section, Terms

FILE_ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "lines",
}
"""Formats of prompt files by their ending; each may carry `.gz` behind it."""

FIELDS = ("id", "prompt", "messages", "category", "difficulty", "tools", "ground_truth")
"""What a prompt may have of its own; anything else is its metadata."""

OWN_ENDINGS = (".rejected", ".expanded", ".shortfalls")
"""A prompt set may not be called so: files of other sets are."""

Field_ = Literal["id", "prompt", "messages", "category", "difficulty", "tools", "ground_truth"]


class Hub(Section):
    """A dataset of the Hugging Face hub, or one that lies in a folder."""

    name: str = Field(min_length=1, description="owner/name on the hub, or a folder")
    config: str | None = Field(None, description="the dataset's configuration; null: its default")
    split: str = Field("train", description="the split to read")
    revision: str | None = Field(None, description="commit on the hub; one that moves (a branch) is not reproducible")


class Categorise(Section):
    """A rule that gives a category to prompts which have none."""

    category: str = Field(min_length=1, description="the category")
    pattern: Pattern | None = Field(None, description="of prompts whose text matches this regular expression ...")
    field: str | None = Field(None, description="... or whose column (dotted path) ...")
    equals: str | int | bool | None = Field(None, description="... has this value")
    override: bool = Field(False, description="give it to prompts that have a category, too")

    @model_validator(mode="after")
    def _says_which(self) -> "Categorise":
        if self.pattern is None and self.field is None:
            raise ValueError("a rule needs pattern, field with equals, or both")
        if (self.field is None) != (self.equals is None):
            raise ValueError("field and equals go together")
        return self


class Sample(Section):
    """A seeded sample of a stream that may hold millions."""

    size: int = Field(ge=1, description="prompts to take")
    seed: int = Field(42, ge=0, description="seed of the draw")


class Expand(Section):
    """Concrete prompts that a model writes from templates and domains."""

    templates: str = Field(description="file of templates with {PLACEHOLDERS}: JSONL, or one a line")
    domains: str | list[str] = Field(description="file of domains, one a line, or a list of them")
    per: int = Field(1, ge=1, le=100, description="prompts wanted of each template in each domain")
    model: Name = Field(description="model that fills the placeholders")
    instructions: str = Field("data/expansion/expand.j2", description="Jinja template of the request")
    sampling: Sampling = Field(
        Sampling(temperature=0.9, top_p=0.95, max_tokens=512), description="how tokens are drawn"
    )
    min_words: int = Field(4, ge=1, description="shorter prompts are thrown away")
    max_words: int = Field(200, ge=1, description="longer prompts are thrown away")
    attempts: int = Field(3, ge=1, le=20, description="requests at most for each template in each domain")


class PromptSet(Section):
    """Prompts of one source: files, a dataset, or a model that writes them."""

    file: str | None = Field(
        None, description="file or pattern of names (*.jsonl): jsonl, json, csv, tsv, parquet or txt, each also .gz"
    )
    format: Literal["jsonl", "json", "csv", "tsv", "parquet", "lines"] | None = Field(
        None, description="of the files; null: by their ending"
    )
    hub: Hub | None = Field(None, description="a Hugging Face dataset instead of a file")
    expand: Expand | None = Field(None, description="prompts that a model writes instead of a file")
    columns: dict[Field_, str] = Field({}, description="own field -> the source's column or dotted path")
    categories: list[Categorise] = Field([], description="categories by rule; the first that fits holds")
    sample: Sample | None = Field(None, description="a seeded sample; null: everything")
    limit: int | None = Field(None, ge=1, description="take only so many, the same ones whatever the file's order")
    bad_rows: Literal["error", "reject"] = Field(
        "error", description="a row that cannot be read stops the run, or is listed and left out"
    )
    licence: Licence | None = Field(None, description="licence of the prompts, for cards and exports")
    terms: Terms = Field(Terms(), description="what else holds for the prompts")
    language: Language | None = Field(None, description="language of the prompts, for cards: en, de, fr ...")

    @model_validator(mode="after")
    def _one_source(self) -> "PromptSet":
        given = [key for key in ("file", "hub", "expand") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of file, hub and expand; found {' and '.join(given) or 'none'}")
        if self.format is not None and self.file is None:
            raise ValueError("format goes with file")
        return self
