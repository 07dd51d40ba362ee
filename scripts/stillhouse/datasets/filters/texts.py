"""Filters by what an answer says: nothing, reasoning tags, refusals, markers, the user's own patterns."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets.filters.base import Answer, Columns, Mask, answer_of
from stillhouse.datasets.filters.patterns import (
    any_of,
    as_mask,
    literal_form,
    neutral,
    re2_form,
    recheck,
    search,
)
from stillhouse.datasets.filters.refusals import BARE, OPENING_CHARACTERS, REFUSALS, is_refusal
from stillhouse.study.markers import Markers

# Reasoning never becomes something to imitate, closed or not, in the spellings that models use. An attribute may follow
# the name; other words may not, so that `a <think and b> c` is none, and a type (`List<Thought>`) is none either.
_THINK_TAG = re.compile(
    r"(?:(?<![A-Za-z0-9_])<|<(?=\s*[/|]|(?-i:think(?:ing)?>))|\u25c1)"
    r"\s*[/|]{0,2}\s*(?:[a-z]{1,12}:|longcat_)?(?:think(?:ing)?|thought|reasoning)"
    r"(?:\s{1,4}[\w:-]{1,40}\s?=[^<>\u25c1\u25b7]{0,60})?\s*[|/]?\s*[>\u25b7]"
    r"|<\|\s?(?:begin|end)_of_(?:thought|thinking|reasoning)\s?\|>"
    r"|<\|(?:START|END)_THINKING\|>"
    r"|<\|channel\|>\s{0,4}analysis\b"
    r"|\[/?(?-i:THINK)\]",
    re.IGNORECASE,
)
_TAG_OPENS = ("<", "\u25c1", r"\[/?THINK\]")

_ASCII_SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f "
_REFUSAL_FORM = any_of(map(re2_form, (*REFUSALS, BARE)))
"""Finds every refusal and a few answers more, at which `is_refusal` looks again."""
_SPEAKER = r"(?i)\b(?:i|we|me|my)\b"
"""In every refusal someone speaks of itself; the whole form takes long."""


def holds_think_tag(text: str) -> bool:
    """Whether `text` holds an opening or closing tag of a reasoning block."""
    return _THINK_TAG.search(text) is not None


@dataclass(frozen=True)
class NotEmpty:
    """Keeps answers that say something. Always on."""

    reason = "empty_answer"
    label = "no empty answer (always)"
    columns = ("answer",)

    def keep(self, row: Answer) -> bool:
        return bool(answer_of(row).strip())

    def mask(self, batch: Columns) -> Mask:
        answers = batch.strings("answer")
        seen = as_mask(pc.match_substring_regex(answers, "[!-~]"))
        return recheck(seen, answers, lambda text: bool(text.strip()), ~seen)


@dataclass(frozen=True)
class NoThinkTag:
    """Keeps answers without reasoning tags. Always on."""

    reason = "think_tag"
    label = "no think tag (always)"
    columns = ("answer",)

    def keep(self, row: Answer) -> bool:
        return not holds_think_tag(answer_of(row))

    def mask(self, batch: Columns) -> Mask:
        answers = batch.strings("answer")
        opens = np.logical_or.reduce([as_mask(pc.match_substring_regex(answers, sign)) for sign in _TAG_OPENS])
        return ~recheck(opens.copy(), answers, holds_think_tag, opens)


@dataclass(frozen=True)
class NoRefusals:
    """Keeps answers that neither refuse nor speak as a machine."""

    reason = "no_refusals"
    label = "no_refusals: true"
    columns = ("answer",)

    def keep(self, row: Answer) -> bool:
        return not is_refusal(answer_of(row))

    def mask(self, batch: Columns) -> Mask:
        answers = batch.strings("answer")
        openings = pc.utf8_slice_codeunits(pc.utf8_trim(answers, _ASCII_SPACES), 0, OPENING_CHARACTERS)
        straight = pc.replace_substring(openings, "\u2019", "'")
        found = as_mask(pc.match_substring_regex(straight, _SPEAKER))
        places = np.flatnonzero(found)
        found[places] = as_mask(pc.match_substring_regex(straight.take(pa.array(places)), _REFUSAL_FORM))
        return ~recheck(found, answers, is_refusal, found | ~neutral(answers))


@dataclass(frozen=True)
class _ByMarkers:
    file: str
    markers: Markers
    columns = ("answer",)

    @cached_property
    def _form(self) -> str | None:
        """One RE2 pattern for all markers; None where one of them has none."""
        forms = []
        for matcher in self.markers.matchers:
            if isinstance(matcher, str):
                forms += [form] if (form := literal_form(matcher)) else []
            else:
                forms.append(re2_form(matcher))
        return any_of(forms)

    def _held(self, batch: Columns) -> Mask:
        return search(batch.strings("answer"), lambda text: bool(self.markers.hits(text)), self._form)


@dataclass(frozen=True)
class WithoutMarkers(_ByMarkers):
    """Keeps answers that hold none of the markers: stops the framework from leaking into other domains."""

    reason = "without_markers"

    @property
    def label(self) -> str:
        return f"without_markers: {self.file}"

    def keep(self, row: Answer) -> bool:
        return not self.markers.hits(answer_of(row))

    def mask(self, batch: Columns) -> Mask:
        return ~self._held(batch)


@dataclass(frozen=True)
class WithMarkers(_ByMarkers):
    """Keeps answers that hold at least one of the markers."""

    reason = "with_markers"

    @property
    def label(self) -> str:
        return f"with_markers: {self.file}"

    def keep(self, row: Answer) -> bool:
        return bool(self.markers.hits(answer_of(row)))

    def mask(self, batch: Columns) -> Mask:
        return self._held(batch)


@dataclass(frozen=True)
class _ByPattern:
    pattern: re.Pattern[str]
    columns = ("answer",)

    @cached_property
    def _form(self) -> str | None:
        return re2_form(self.pattern)

    def _matched(self, batch: Columns) -> Mask:
        return search(batch.strings("answer"), lambda text: self.pattern.search(text) is not None, self._form)


@dataclass(frozen=True)
class WithoutPattern(_ByPattern):
    """Keeps answers in which the regular expression (Python's `re`) finds nothing."""

    reason = "without_pattern"

    @property
    def label(self) -> str:
        return f"without_pattern: {self.pattern.pattern}"

    def keep(self, row: Answer) -> bool:
        return self.pattern.search(answer_of(row)) is None

    def mask(self, batch: Columns) -> Mask:
        return ~self._matched(batch)


@dataclass(frozen=True)
class WithPattern(_ByPattern):
    """Keeps answers in which the regular expression (Python's `re`) finds something."""

    reason = "with_pattern"

    @property
    def label(self) -> str:
        return f"with_pattern: {self.pattern.pattern}"

    def keep(self, row: Answer) -> bool:
        return self.pattern.search(answer_of(row)) is not None

    def mask(self, batch: Columns) -> Mask:
        return self._matched(batch)
