"""The `datasets` section: which answers become training rows."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stillhouse.study.base import HubName, Licence, Name, Pattern, Section, Share
from stillhouse.study.filters import Filter

OutputForm = Literal["sharegpt", "alpaca", "mlx"]

CONVERSIONS: dict[str, tuple[OutputForm, ...]] = {
    "sft": ("sharegpt", "alpaca", "mlx"),
    "reasoning": ("sharegpt", "alpaca", "mlx"),
    "critic": ("sharegpt", "alpaca", "mlx"),
    "preference": ("sharegpt", "alpaca"),
}
"""Which other forms the rows of a format can be written in."""


class Source(Section):
    """Answers of one generation or of files, filtered, and their share of the dataset."""

    generation: Name = Field(description="name of a generation, or of an entry of `answers`")
    share: Share | None = Field(None, gt=0.0, lt=1.0, description="share of the dataset's rows; others fill the rest")
    limit: int | None = Field(None, ge=1, description="rows at most: a seeded sample of those that passed")
    repeat: float = Field(
        1.0, gt=0.0, le=1000.0, description="times that each row stands in the dataset; 2.5: half of them thrice"
    )
    filters: list[Filter] = Field([], description="applied in order")


class OtherAnswers(Section):
    """Other answers to the same prompts."""

    generation: Name = Field(description="a generation or an entry of `answers`: those of the student or the base, say")


Fallback = Literal["losers", "draft"] | OtherAnswers


class Pairs(Section):
    """How candidates and other models' answers become chosen and rejected answers."""

    min_margin: int = Field(1, ge=0, description="least Borda points between chosen and rejected")
    rejected: Literal["losers", "draft"] | Annotated[list[Fallback], Field(min_length=1)] = Field(
        "losers",
        description="beaten candidates, the first draft, or a list of which the first that gives a sound pair holds",
    )
    max_similarity: Share | None = Field(
        None,
        description="a rejected answer more like the chosen one (Jaccard of 3-word shingles) is too good; null: only equal ones",
    )

    @property
    def order(self) -> list[Fallback]:
        """Where the rejected answer may come from, in the order of trying."""
        return [self.rejected] if isinstance(self.rejected, str) else list(self.rejected)

    @property
    def generations(self) -> list[str]:
        """Generations whose answers may be the rejected ones."""
        return [one.generation for one in self.order if isinstance(one, OtherAnswers)]


class Critic(Section):
    """What a critic model is taught, of a tournament's first round on."""

    task: Literal["critique", "revise", "both"] = Field("both", description="to find flaws, to revise by them, or both")


class NearDuplicates(Section):
    """MinHash near-duplicates over word shingles, verified by their exact Jaccard similarity."""

    threshold: float = Field(0.85, gt=0.0, le=1.0, description="Jaccard similarity from which rows are duplicates")
    over: Literal["prompt", "answer", "both"] = Field("prompt", description="the text that is compared")
    permutations: Literal[64, 128, 256] = Field(128, description="hash functions of a signature")
    keep: Literal["first", "longest", "margin", "quality"] = Field(
        "first",
        description="of alike rows: that of the first source, the longest answer, the clearest win, the best score",
    )


class Decontaminate(Section):
    """Drops rows whose prompt is too near to a held-out prompt."""

    against: list[Name] = Field(description="evaluations whose prompts must not leak in")
    ngram: int = Field(8, ge=2, description="a shared run of so many words drops the row")
    threshold: float | None = Field(
        0.65, gt=0.0, le=1.0, description="and so does this Jaccard similarity of 3-word shingles; null: not looked at"
    )
    content: float | None = Field(
        0.75,
        gt=0.0,
        le=1.0,
        description="and so does this one of content words, 3 shared at least; null: not looked at",
    )


class Split(Section):
    """Shares of the three splits; `test` is what is left."""

    train: Share = Field(0.9, description="share of training rows")
    valid: Share = Field(0.1, description="share of validation rows")
    seed: int = Field(42, ge=0, description="seed of the assignment by prompt_id")
    stratify: bool = Field(
        False, description="exact shares in every category; new rows may then move old ones to another split"
    )

    @model_validator(mode="after")
    def _sums(self) -> "Split":
        if self.train + self.valid > 1.0 + 1e-9:
            raise ValueError(f"train + valid is {self.train + self.valid:g}, must be at most 1")
        return self


def _order_key(key: str) -> str:
    if key in ("words", "tokens", "difficulty", "category", "quality") or key.startswith("metadata:") and len(key) > 9:
        return key
    raise ValueError(f"expected words, tokens, difficulty, category, quality or metadata:KEY; found {key!r}")


class Curriculum(Section):
    """Rows in the order of a key."""

    by: Annotated[str, AfterValidator(_order_key)] = Field(
        description="words, tokens, difficulty, category, quality or metadata:KEY; rows without it come last"
    )
    descending: bool = Field(False, description="largest first")


class Match(Section):
    """Which rows a rule takes; exactly one of category, pattern, metadata and generation."""

    category: list[str] | None = Field(None, min_length=1, description="rows of these categories")
    pattern: Pattern | None = Field(None, description="rows whose prompt matches this regular expression")
    metadata: str | None = Field(None, description="rows whose metadata has under this key ...")
    equals: str | int | float | bool | list[str | int | float | bool] | None = Field(
        None, description="... this value, or one of these"
    )
    generation: Name | None = Field(None, description="rows of this generation or entry of `answers`")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Match":
        given = [key for key in ("category", "pattern", "metadata", "generation") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of category, pattern, metadata and generation; found {given or 'none'}")
        if (self.metadata is None) != (self.equals is None):
            raise ValueError("metadata and equals go together")
        return self


class Repeat(Section):
    """A rule that repeats the rows it takes, as replay manifests do; of several rules the times are multiplied."""

    times: float = Field(gt=0.0, le=1000.0, description="times that each of the rows stands in the dataset")
    any: list[Match] | None = Field(None, min_length=1, description="rows that one of these takes ...")
    all: list[Match] | None = Field(None, min_length=1, description="... or that all of these take")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Repeat":
        if (self.any is None) == (self.all is None):
            raise ValueError("expected any or all")
        return self


class Tokens(Section):
    """The tokenizer that lengths in tokens are told by."""

    model: Name = Field(description="model of the study with weights: the base that will be trained")
    max_length: int | None = Field(None, ge=8, description="tokens from which training would cut a row; null: not told")


class Dataset(Section):
    """Rows for one training format."""

    format: Literal["sft", "reasoning", "preference", "critic"] = Field("sft", description="what TRL is given")
    sources: list[Source] = Field(min_length=1, description="generations and `answers` that the rows come from")
    pairs: Pairs = Field(Pairs(), description="how pairs are made (preference only)")
    critic: Critic = Field(Critic(), description="what is taught (critic only)")
    near_duplicates: NearDuplicates | None = Field(None, description="drop near-duplicate rows; null: keep them")
    decontaminate: Decontaminate | None = Field(None, description="keep held-out prompts out; null: no check")
    share_of: Literal["rows", "tokens"] = Field("rows", description="what the sources' shares are shares of")
    repeats: list[Repeat] = Field([], description="rules that repeat the rows they take")
    tokens: Tokens | None = Field(None, description="count tokens, for the report, filters and shares; null: do not")
    split: Split = Field(Split(), description="train, valid and test")
    order: Literal["shuffle", "source"] | Curriculum = Field(
        "shuffle", description="row order: seeded by the split, by source, or by a key"
    )
    outputs: list[OutputForm] = Field([], description="other forms of the splits, as JSONL")
    licence: Licence | None = Field(
        None, description="licence of the dataset, for the card; null: those of its sources"
    )
    hub: HubName | None = Field(None, description="the dataset on the Hugging Face hub, for model cards")

    @property
    def filters(self) -> list[Filter]:
        """The filters of all sources."""
        return [one for source in self.sources for one in source.filters]

    @property
    def quality_keys(self) -> list[str]:
        """Keys beside the filters that go by the scores of all sources."""
        ordered = isinstance(self.order, Curriculum) and self.order.by == "quality"
        kept = self.near_duplicates is not None and self.near_duplicates.keep == "quality"
        return [*(["order.by"] if ordered else []), *(["near_duplicates.keep"] if kept else [])]

    @property
    def scored_sources(self) -> list[str]:
        """Names of the sources whose rows are filtered or ordered by scores, where they have any."""
        by = (one for one in self.sources if self.quality_keys or any(item.quality for item in one.filters))
        return list(dict.fromkeys(source.generation for source in by))

    @property
    def token_keys(self) -> list[str]:
        """Keys that only a tokenizer can serve."""
        found = [
            key for key in ("min_tokens", "max_tokens") if any(getattr(one, key) is not None for one in self.filters)
        ]
        found += ["share_of"] if self.share_of == "tokens" else []
        return found + (["order.by"] if isinstance(self.order, Curriculum) and self.order.by == "tokens" else [])

    @model_validator(mode="after")
    def _fits(self) -> "Dataset":
        if self.token_keys and self.tokens is None:
            raise ValueError(
                f"{', '.join(self.token_keys)}: needs `tokens`, which names the model whose tokenizer counts"
            )
        wrong = [form for form in self.outputs if form not in CONVERSIONS[self.format]]
        if wrong:
            fits = ", ".join(CONVERSIONS[self.format])
            raise ValueError(f"outputs: {', '.join(wrong)} cannot hold {self.format} rows; expected of {fits}")
        return self


def fallback_name(fallback: Any) -> str:
    """How a fallback is told in datasets and reports."""
    return fallback if isinstance(fallback, str) else f"generation:{fallback.generation}"
