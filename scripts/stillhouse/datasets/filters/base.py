"""What every filter offers, and how one is put to a batch of answers."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from stillhouse.datasets.kernels import Counts, Tokens

Answer = Mapping[str, Any]
"""One row of answers.parquet; `messages`, `tools`, `context`, `metadata` and `transcript` are JSON texts."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""One truth value a row."""


class Columns(Protocol):
    """What a filter reads of a batch: see `stillhouse.datasets.batches.Batch`."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> pa.Array: ...

    def strings(self, name: str) -> pa.StringArray: ...

    def prompt_texts(self) -> pa.StringArray: ...

    def counts(self, name: str) -> Counts: ...

    def tokens(self, name: str) -> Tokens: ...

    @property
    def prompt_words(self) -> np.ndarray: ...


class RowFilter(Protocol):
    """What every filter offers.

    `reason` counts what it drops, `label` is the filter as the study writes it, `columns` is what it reads.
    `keep` tells the truth about one row. A filter may also have `mask(batch) -> Mask`: the same for a whole
    batch, faster (a test holds the two equal). `hashed` names columns of which that wants the words' hashes: they are
    made before all filters, as words are counted in the same go.
    """

    reason: str
    columns: tuple[str, ...]

    @property
    def label(self) -> str: ...

    def keep(self, row: Answer) -> bool: ...


def keep_mask(one: RowFilter, batch: Columns, alive: Mask) -> Mask:
    """Which of the rows that are still `alive` the filter keeps; a row that is not alive stays so."""
    mask: Callable[[Columns], Mask] | None = getattr(one, "mask", None)
    if mask is not None:
        return alive & mask(batch)
    kept = np.zeros(len(batch), dtype=bool)
    places = np.flatnonzero(alive)
    for place, row in zip(places, rows_at(batch, one.columns, places), strict=True):
        kept[place] = one.keep(row)
    return kept


def rows_at(batch: Columns, columns: tuple[str, ...], places: np.ndarray) -> Iterator[dict[str, Any]]:
    """The rows at `places` as plain dicts of `columns`; nothing of them is held on to."""
    picked = [batch.column(name).take(pa.array(places)) for name in columns]
    for number in range(len(places)):
        yield {name: column[number].as_py() for name, column in zip(columns, picked, strict=True)}


def answer_of(row: Answer) -> str:
    """The answer's text; a missing one is empty."""
    return row["answer"] or ""


def written(value: object) -> str:
    """A setting's value as the study writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(written, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
