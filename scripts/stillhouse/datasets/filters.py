"""Filters over answers. Each knows the reason under which the report counts what it drops."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stillhouse.datasets.text import count_words
from stillhouse.study.datasets import Filter
from stillhouse.study.markers import Markers, load_markers

Answer = Mapping[str, Any]

# Reasoning never becomes something to imitate, closed or not, in the spellings that models use.
_THINK_TAG = re.compile(r"[<◁]\s*[/|]?\s*think(?:ing)?\b[^<>◁▷]{0,40}[>▷]", re.IGNORECASE)

# Held against the answer's beginning, where a refusal stands; further on such words are mostly quoted.
_OPENING_CHARACTERS = 300
_REFUSALS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bas an? (?:\w+ ){0,2}(?:ai|a\.i\.|artificial intelligence|language model|llm|chatbot|virtual assistant)\b",
        r"\bi(?:'m| am) (?:just |only |simply )?an? (?:\w+ ){0,2}(?:ai|language model|llm|chatbot)\b",
        r"\bi(?:'m| am) (?:(?:so|very|really|truly) )?(?:sorry|afraid),? (?:but )?(?:that )?i "
        r"(?:can(?:'?t|not)|won'?t|am (?:unable|not able)|do(?:n'?t| not))\b",
        r"\bi (?:can(?:'?t|not)|can not|could not|won'?t|will not) (?:\w+ ){0,2}"
        r"(?:assist|help|comply|fulfil+|provide|answer|engage|discuss|participate) (?:with|you|that|this|in|to)\b",
        r"\bi(?:'m| am) (?:unable|not able|not allowed|not permitted) to (?:\w+ ){0,2}"
        r"(?:assist|help|comply|fulfil+|provide|answer|engage|discuss|create|generate|write|process)\b",
        r"^sorry,? (?:but )?i (?:can(?:'?t|not)|won'?t|am (?:unable|not able))\b",
        r"\bi (?:must|have to|need to) (?:respectfully |politely )?(?:decline|refuse)\b",
        r"\bi (?:do not|don't) have (?:personal|any personal|feelings|emotions|opinions|beliefs|preferences)\b",
        r"\b(?:goes|is|would be) against my (?:programming|guidelines|policies|training)\b",
        r"\bmy (?:training|knowledge) (?:data )?(?:cut-?off|only goes|only extends)\b",
    )
)


def holds_think_tag(text: str) -> bool:
    """Whether `text` holds an opening or closing tag of a reasoning block."""
    return _THINK_TAG.search(text) is not None


def is_refusal(text: str) -> bool:
    """Whether an answer begins by refusing, or by speaking of itself as a machine."""
    opening = text.strip()[:_OPENING_CHARACTERS].replace("\u2019", "'")
    return any(pattern.search(opening) for pattern in _REFUSALS)


class RowFilter(Protocol):
    """What every filter offers. `label` is the filter as the study writes it."""

    reason: str

    @property
    def label(self) -> str: ...

    def keep(self, row: Answer) -> bool: ...


@dataclass(frozen=True)
class MinWords:
    """Keeps answers of at least `limit` words."""

    limit: int
    reason = "min_words"

    @property
    def label(self) -> str:
        return f"min_words: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return count_words(row["answer"]) >= self.limit


@dataclass(frozen=True)
class MaxWords:
    """Keeps answers of at most `limit` words."""

    limit: int
    reason = "max_words"

    @property
    def label(self) -> str:
        return f"max_words: {self.limit}"

    def keep(self, row: Answer) -> bool:
        return count_words(row["answer"]) <= self.limit


@dataclass(frozen=True)
class WithoutMarkers:
    """Keeps answers that hold none of the markers: stops the framework from leaking into other domains."""

    file: str
    markers: Markers
    reason = "without_markers"

    @property
    def label(self) -> str:
        return f"without_markers: {self.file}"

    def keep(self, row: Answer) -> bool:
        return not self.markers.hits(row["answer"])


@dataclass(frozen=True)
class WithMarkers:
    """Keeps answers that hold at least one of the markers."""

    file: str
    markers: Markers
    reason = "with_markers"

    @property
    def label(self) -> str:
        return f"with_markers: {self.file}"

    def keep(self, row: Answer) -> bool:
        return bool(self.markers.hits(row["answer"]))


@dataclass(frozen=True)
class NotTruncated:
    """Keeps answers that ended by themselves."""

    reason = "not_truncated"
    label = "not_truncated: true"

    def keep(self, row: Answer) -> bool:
        return not row["truncated"]


@dataclass(frozen=True)
class Converged:
    """Keeps answers whose tournament converged; a single pass has none, so its answers stay."""

    reason = "converged"
    label = "converged: true"

    def keep(self, row: Answer) -> bool:
        return row["converged"] is not False


@dataclass(frozen=True)
class NoRefusals:
    """Keeps answers that neither refuse nor speak as a machine."""

    reason = "no_refusals"
    label = "no_refusals: true"

    def keep(self, row: Answer) -> bool:
        return not is_refusal(row["answer"])


@dataclass(frozen=True)
class NoThinkTag:
    """Keeps answers without reasoning tags. Always on."""

    reason = "think_tag"
    label = "no think tag (always)"

    def keep(self, row: Answer) -> bool:
        return not holds_think_tag(row["answer"])


@dataclass(frozen=True)
class NotEmpty:
    """Keeps answers that say something. Always on."""

    reason = "empty_answer"
    label = "no empty answer (always)"

    def keep(self, row: Answer) -> bool:
        return bool(row["answer"].strip())


ALWAYS: tuple[RowFilter, ...] = (NotEmpty(), NoThinkTag())

_REGISTRY = {
    "min_words": lambda limit, _: MinWords(limit),
    "max_words": lambda limit, _: MaxWords(limit),
    "without_markers": lambda name, files: WithoutMarkers(_shown(name), load_markers(files.get(name, name))),
    "with_markers": lambda name, files: WithMarkers(_shown(name), load_markers(files.get(name, name))),
    "not_truncated": lambda _, __: NotTruncated(),
    "converged": lambda _, __: Converged(),
    "no_refusals": lambda _, __: NoRefusals(),
}


def _shown(name: str) -> str:
    """A file as artefacts may name it: never by an absolute path."""
    return Path(name).name if Path(name).is_absolute() else name


def make_filters(wanted: Iterable[Filter], files: Mapping[str, Path]) -> list[RowFilter]:
    """The study's filters in order.

    `files` says where a markers file that the study names lies; one that it lacks is opened under its own
    name. Raises `InputError` when a markers file is missing or malformed.
    """
    settings = ((setting, value) for one in wanted for setting, value in one.model_dump(exclude_unset=True).items())
    return [_REGISTRY[setting](value, files) for setting, value in settings if value is not None]
