"""The study's filters, made ready: which class stands for which key."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from re import compile as compile_pattern
from typing import Any

from stillhouse.datasets.filters.base import RowFilter, keep_mask
from stillhouse.datasets.filters.forms import CodeParses, ValidJson
from stillhouse.datasets.filters.language import InLanguage
from stillhouse.datasets.filters.lengths import (
    LengthRatio,
    MaxChars,
    MaxContractions,
    MaxTokens,
    MaxWords,
    MinChars,
    MinContractions,
    MinTokens,
    MinWords,
    Repetition,
    TokenCounter,
)
from stillhouse.datasets.filters.panel import Converged, JudgeAgreement, MinMargin, NotTruncated
from stillhouse.datasets.filters.personal import NoPersonalData
from stillhouse.datasets.filters.quality import MinQuality, Scored
from stillhouse.datasets.filters.reach import texts_of
from stillhouse.datasets.filters.secrets import NoSecrets
from stillhouse.datasets.filters.texts import (
    NoRefusals,
    NotEmpty,
    NoThinkTag,
    WithMarkers,
    WithoutMarkers,
    WithoutPattern,
    WithPattern,
)
from stillhouse.datasets.filters.user import PythonFilter, load_function
from stillhouse.errors import InputError
from stillhouse.study.filters import Filter, QualityBound
from stillhouse.study.markers import load_markers

__all__ = ["ALWAYS", "FILTERS", "RowFilter", "keep_mask", "make_filters"]

ALWAYS: tuple[RowFilter, ...] = (NotEmpty(), NoThinkTag())
"""What every answer that becomes a row's text has to pass, whatever the study says."""


@dataclass(frozen=True)
class Means:
    """What filters need besides their settings."""

    files: Mapping[str, Path]
    counter: TokenCounter | None
    texts: tuple[str, ...]

    def file(self, name: str) -> Path:
        """Where a file lies that the study names."""
        return Path(self.files.get(name, name))

    def tokens(self) -> TokenCounter:
        """The tokenizer; raises `InputError` where the dataset names none."""
        if self.counter is None:
            raise InputError("filters min_tokens and max_tokens need the dataset's `tokens`: {model: NAME}")
        return self.counter


Maker = Callable[[Any, Means], RowFilter | list[RowFilter]]

FILTERS: dict[str, Maker] = {
    "min_words": lambda limit, _: MinWords(limit),
    "max_words": lambda limit, _: MaxWords(limit),
    "min_chars": lambda limit, _: MinChars(limit),
    "max_chars": lambda limit, _: MaxChars(limit),
    "min_tokens": lambda limit, means: MinTokens(limit, means.tokens()),
    "max_tokens": lambda limit, means: MaxTokens(limit, means.tokens()),
    "length_ratio": lambda limits, _: LengthRatio(limits.min, limits.max),
    "without_markers": lambda name, means: WithoutMarkers(_shown(name), load_markers(means.file(name))),
    "with_markers": lambda name, means: WithMarkers(_shown(name), load_markers(means.file(name))),
    "without_pattern": lambda pattern, _: WithoutPattern(compile_pattern(pattern)),
    "with_pattern": lambda pattern, _: WithPattern(compile_pattern(pattern)),
    "not_truncated": lambda _, __: NotTruncated(),
    "converged": lambda _, __: Converged(),
    "min_margin": lambda points, _: MinMargin(points),
    "judge_agreement": lambda share, _: JudgeAgreement(share),
    "quality": lambda bound, _: _by_score(bound),
    "no_refusals": lambda _, __: NoRefusals(),
    "min_contractions": lambda limit, _: MinContractions(limit),
    "max_contractions": lambda limit, _: MaxContractions(limit),
    "repetition": lambda limits, _: Repetition(limits.n, limits.max),
    "language": lambda languages, _: InLanguage(tuple(languages)),
    "valid_json": lambda _, __: ValidJson(),
    "code_parses": lambda _, __: CodeParses(),
    "secrets": lambda wanted, means: NoSecrets(() if wanted is True else tuple(wanted.plugins), means.texts),
    "pii": lambda wanted, means: NoPersonalData(() if wanted is True else tuple(wanted), means.texts),
    "python": lambda named, means: _users(named, means),
}
"""Key of a filter in the study -> what makes it: one filter, or several that each have a reason."""


def make_filters(
    wanted: Iterable[Filter],
    files: Mapping[str, Path],
    *,
    counter: TokenCounter | None = None,
    format: str = "sft",
) -> list[RowFilter]:
    """The study's filters in order.

    Args:
        wanted: the `filters` of a source.
        files: markers and Python files as the study names them -> where they lie; others open under their name.
        counter: the tokenizer for limits in tokens.
        format: the dataset's format, which decides in which texts secrets and personal data are looked for.

    Raises:
        InputError: a markers or Python file is missing or malformed, the tokenizer is missing, or a language
            cannot be told.
    """
    means = Means(files, counter, texts_of(format))
    settings = ((key, getattr(one, key)) for one in wanted for key in FILTERS)
    made = (FILTERS[key](value, means) for key, value in settings if value is not None)
    return [item for one in made for item in (one if isinstance(one, list) else [one])]


def _by_score(bound: QualityBound) -> list[RowFilter]:
    found = MinQuality(bound.min, bound.unscored)
    return [found] if bound.unscored == "keep" else [Scored(), found]


def _users(named: str, means: Means) -> PythonFilter:
    file, function = named.rsplit(":", 1)
    return PythonFilter(f"{_shown(file)}:{function}", load_function(means.file(file), function))


def _shown(name: str) -> str:
    """A file as artefacts may name it: never by an absolute path."""
    return Path(name).name if Path(name).is_absolute() else name
