"""The texts in which a dataset's rows could carry what must not leave the house: secrets, personal data."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from stillhouse.datasets.filters.base import Answer, Columns, Mask, RowFilter, rows_at
from stillhouse.datasets.filters.patterns import as_mask

JSON_COLUMNS = frozenset({"messages", "tools", "transcript"})

_EVERYWHERE = ("messages", "tools", "answer")
_MORE = {"reasoning": ("reasoning",), "preference": ("draft", "transcript"), "critic": ("draft", "transcript")}

# JSON may write a character in a way of its own; such rows are looked at whatever the hint says.
_ESCAPED = r"\\[u/]"


_OF_TEXT = frozenset({"prompt_id", "messages", "answer"})
_SAFETY = ("secrets", "pii")


def texts_of(format_name: str) -> tuple[str, ...]:
    """The columns out of which a dataset of this format takes texts."""
    return _EVERYWHERE + _MORE.get(format_name, ())


@dataclass(frozen=True)
class TextChecks:
    """The filters of a source, put to texts that its rows teach beside their final answers.

    `chosen` go by an answer and the prompt alone; filters by the panel or of the user tell of a row's own answer.
    """

    chosen: tuple[RowFilter, ...] = ()
    rejected: tuple[RowFilter, ...] = ()

    @classmethod
    def of(cls, filters: Iterable[RowFilter]) -> "TextChecks":
        """Those of a source's filters that can tell of other texts."""
        filters = tuple(filters)
        chosen = (one for one in filters if "answer" in one.columns and _OF_TEXT.issuperset(one.columns))
        return cls(tuple(chosen), tuple(one for one in filters if one.reason in _SAFETY))

    def may_be_chosen(self, text: str, row: Answer) -> bool:
        """Whether a candidate of the row could be its answer."""
        asked = {"prompt_id": row.get("prompt_id"), "messages": row["messages"], "answer": text}
        return all(one.keep(asked) for one in self.chosen)

    def may_be_rejected(self, text: str) -> bool:
        """Whether another model's answer holds nothing that must not leave the house."""
        return all(one.keep({**dict.fromkeys(one.columns), "answer": text}) for one in self.rejected)


@dataclass(frozen=True)
class Scan:
    """Looks for something in all texts of a row.

    `found` tells of one text. `hint` is a pattern of RE2 that finds something in every text in which `found`
    does, as it stands and as JSON writes it (a test holds that), so that the others need not be looked at.
    """

    columns: tuple[str, ...]
    hint: str
    found: Callable[[str], bool]

    def hits(self, row: Answer) -> bool:
        """Whether any text of the row holds it."""
        return any(self.found(text) for name in self.columns for text in _texts(name, row[name]))

    def hit_mask(self, batch: Columns) -> Mask:
        """The same for every row of a batch."""
        likely = np.zeros(len(batch), dtype=bool)
        for name in self.columns:
            hint = f"(?:{self.hint})|{_ESCAPED}" if name in JSON_COLUMNS else self.hint
            likely |= as_mask(pc.match_substring_regex(batch.strings(name), hint))
        places = np.flatnonzero(likely)
        likely[places] = [self.hits(row) for row in rows_at(batch, self.columns, places)]
        return likely


def _texts(column: str, value: str | None) -> Iterator[str]:
    if not value:
        return
    if column not in JSON_COLUMNS:
        yield value
        return
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        yield value
    else:
        yield from _leaves(parsed)


def _leaves(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names of keys included."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
