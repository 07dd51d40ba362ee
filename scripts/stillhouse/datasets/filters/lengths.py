"""Filters by counting: words, characters, tokens, the ratio to the prompt, contractions, repeats."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets import kernels
from stillhouse.datasets.batches import content_of
from stillhouse.datasets.filters.base import Answer, Columns, Mask, answer_of, written
from stillhouse.datasets.text import count_contractions, count_words, repeated_share
from stillhouse.errors import InputError


class TokenCounter(Protocol):
    """Counts the tokens of texts."""

    def count(self, texts: list[str]) -> Sequence[int] | np.ndarray: ...


def prompt_text(row: Answer) -> str:
    """The conversation without system messages, its parts joined by newlines, as `Batch.prompt_texts` has it."""
    try:
        messages = json.loads(row["messages"])
        return "\n".join(content_of(one.get("content")) for one in messages if one["role"] != "system")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"prompt {row.get('prompt_id')}: `messages` is no list of role and content") from None


@dataclass(frozen=True)
class MinWords:
    """Keeps answers of at least `limit` words."""

    limit: int
    reason = "min_words"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"min_words: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return count_words(answer_of(row)) >= self.limit

    def mask(self, batch: Columns) -> Mask:
        return batch.counts("answer").words >= self.limit


@dataclass(frozen=True)
class MaxWords:
    """Keeps answers of at most `limit` words."""

    limit: int
    reason = "max_words"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"max_words: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return count_words(answer_of(row)) <= self.limit

    def mask(self, batch: Columns) -> Mask:
        return batch.counts("answer").words <= self.limit


@dataclass(frozen=True)
class MinChars:
    """Keeps answers of at least `limit` characters (Unicode code points)."""

    limit: int
    reason = "min_chars"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"min_chars: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return len(answer_of(row)) >= self.limit

    def mask(self, batch: Columns) -> Mask:
        return _chars(batch.strings("answer")) >= self.limit


@dataclass(frozen=True)
class MaxChars:
    """Keeps answers of at most `limit` characters (Unicode code points)."""

    limit: int
    reason = "max_chars"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"max_chars: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return len(answer_of(row)) <= self.limit

    def mask(self, batch: Columns) -> Mask:
        return _chars(batch.strings("answer")) <= self.limit


def _chars(strings: pa.StringArray) -> np.ndarray:
    return pc.utf8_length(strings).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class MinTokens:
    """Keeps answers of at least `limit` tokens of the dataset's model."""

    limit: int
    counter: TokenCounter
    reason = "min_tokens"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"min_tokens: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return int(self.counter.count([answer_of(row)])[0]) >= self.limit

    def mask(self, batch: Columns) -> Mask:
        return np.asarray(self.counter.count(batch.strings("answer").to_pylist())) >= self.limit


@dataclass(frozen=True)
class MaxTokens:
    """Keeps answers of at most `limit` tokens of the dataset's model."""

    limit: int
    counter: TokenCounter
    reason = "max_tokens"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"max_tokens: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return int(self.counter.count([answer_of(row)])[0]) <= self.limit

    def mask(self, batch: Columns) -> Mask:
        return np.asarray(self.counter.count(batch.strings("answer").to_pylist())) <= self.limit


@dataclass(frozen=True)
class LengthRatio:
    """Keeps answers whose words over the prompt's words (at least 1) lie between `least` and `most`."""

    least: float | None
    most: float | None
    reason = "length_ratio"
    columns = ("prompt_id", "messages", "answer")

    @property
    def label(self) -> str:
        limits = {"min": self.least, "max": self.most}
        return f"length_ratio: {written({name: one for name, one in limits.items() if one is not None})}"

    def keep(self, row: Answer) -> bool:
        ratio = count_words(answer_of(row)) / max(count_words(prompt_text(row)), 1)
        return (self.least is None or ratio >= self.least) and (self.most is None or ratio <= self.most)

    def mask(self, batch: Columns) -> Mask:
        asked = np.maximum(batch.prompt_words, 1)
        return _within(batch.counts("answer").words / asked, self.least, self.most)


@dataclass(frozen=True)
class MinContractions:
    """Keeps answers with at least `limit` contractions in a hundred words: an informal voice."""

    limit: float
    reason = "min_contractions"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"min_contractions: {written(self.limit)}"

    def keep(self, row: Answer) -> bool:
        return contractions_per_hundred(answer_of(row)) >= self.limit

    def mask(self, batch: Columns) -> Mask:
        return _contractions(batch) >= self.limit


@dataclass(frozen=True)
class MaxContractions:
    """Keeps answers with at most `limit` contractions in a hundred words: a formal voice."""

    limit: float
    reason = "max_contractions"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"max_contractions: {written(self.limit)}"

    def keep(self, row: Answer) -> bool:
        return contractions_per_hundred(answer_of(row)) <= self.limit

    def mask(self, batch: Columns) -> Mask:
        return _contractions(batch) <= self.limit


def contractions_per_hundred(text: str) -> float:
    """Contractions in a hundred words; 0 for a text without words."""
    return 100.0 * count_contractions(text) / max(count_words(text), 1)


def _contractions(batch: Columns) -> np.ndarray:
    counts = batch.counts("answer")
    return 100.0 * counts.contractions / np.maximum(counts.words, 1)


@dataclass(frozen=True)
class Repetition:
    """Keeps answers of whose runs of `words` words at most the share `most` stood in the answer before."""

    words: int
    most: float
    reason = "repetition"
    columns = ("answer",)
    hashed = ("answer",)

    @property
    def label(self) -> str:
        return f"repetition: {written({'n': self.words, 'max': self.most})}"

    def keep(self, row: Answer) -> bool:
        return repeated_share(answer_of(row), self.words) <= self.most

    def mask(self, batch: Columns) -> Mask:
        return kernels.repeated_shares(batch.tokens("answer"), self.words) <= self.most


def _within(values: np.ndarray, least: float | None, most: float | None) -> Mask:
    inside = np.ones(len(values), dtype=bool)
    if least is not None:
        inside &= values >= least
    if most is not None:
        inside &= values <= most
    return inside
