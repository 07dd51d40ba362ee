"""The `datasets` section: which answers become training rows."""

from typing import Literal

from pydantic import Field, model_validator

from stillhouse.study.base import HubName, Licence, Name, Section, Share


class Filter(Section):
    """One filter; exactly one key is set. Every dropped row is counted under the filter's name."""

    min_words: int | None = Field(None, ge=0, description="drop shorter answers")
    max_words: int | None = Field(None, ge=1, description="drop longer answers")
    without_markers: str | None = Field(None, description="markers file: drop answers with any of them (anti-leakage)")
    with_markers: str | None = Field(None, description="markers file: drop answers with none of them")
    not_truncated: Literal[True] | None = Field(None, description="drop answers cut off by max_tokens")
    converged: Literal[True] | None = Field(None, description="drop answers whose tournament did not converge")
    no_refusals: Literal[True] | None = Field(None, description='drop refusals and "as an AI" answers')

    @model_validator(mode="after")
    def _exactly_one(self) -> "Filter":
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("a filter is one key with its value, as in {min_words: 8}")
        return self


class Source(Section):
    """Answers of one generation, filtered, and their share of the dataset."""

    generation: Name = Field(description="name of a generation")
    share: Share | None = Field(None, gt=0.0, lt=1.0, description="share of the dataset's rows; others fill the rest")
    filters: list[Filter] = Field([], description="applied in order")


class Pairs(Section):
    """How a tournament's candidates become chosen and rejected answers."""

    min_margin: int = Field(1, ge=0, description="least Borda points between chosen and rejected")
    rejected: Literal["losers", "draft"] = Field("losers", description="beaten candidates, or the first draft only")


class NearDuplicates(Section):
    """MinHash near-duplicates over the prompt's word shingles."""

    threshold: float = Field(0.85, gt=0.0, le=1.0, description="Jaccard similarity from which rows are duplicates")


class Decontaminate(Section):
    """Drops rows whose prompt is too near to a held-out prompt."""

    against: list[Name] = Field(description="evaluations whose prompts must not leak in")
    ngram: int = Field(8, ge=2, description="a shared run of so many words drops the row")
    threshold: float = Field(0.65, gt=0.0, le=1.0, description="and so does this Jaccard similarity of 3-word shingles")
    content: float = Field(0.75, gt=0.0, le=1.0, description="and so does this one of content words, 3 shared at least")


class Split(Section):
    """Shares of the three splits; `test` is what is left."""

    train: Share = Field(0.9, description="share of training rows")
    valid: Share = Field(0.1, description="share of validation rows")
    seed: int = Field(42, ge=0, description="seed of the assignment by prompt_id")

    @model_validator(mode="after")
    def _sums(self) -> "Split":
        if self.train + self.valid > 1.0 + 1e-9:
            raise ValueError(f"train + valid is {self.train + self.valid:g}, must be at most 1")
        return self


class Dataset(Section):
    """Rows for one training format."""

    format: Literal["sft", "preference"] = Field("sft", description="what TRL is given")
    sources: list[Source] = Field(min_length=1, description="generations that the rows come from")
    pairs: Pairs = Field(Pairs(), description="how pairs are made (preference only)")
    near_duplicates: NearDuplicates | None = Field(None, description="drop near-duplicate prompts; null: keep them")
    decontaminate: Decontaminate | None = Field(None, description="keep held-out prompts out; null: no check")
    split: Split = Field(Split(), description="train, valid and test")
    licence: Licence | None = Field(
        None, description="licence of the dataset, for the card; null: those of its sources"
    )
    hub: HubName | None = Field(None, description="the dataset on the Hugging Face hub, for model cards")
    order: Literal["shuffle", "source"] = Field("shuffle", description="row order; shuffle is seeded by the split")
