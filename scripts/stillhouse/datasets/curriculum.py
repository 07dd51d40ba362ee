"""The order of a dataset's rows: a seeded shuffle, the sources in turn, or a curriculum by a key."""

from typing import Literal

import numpy as np
import pyarrow as pa

from stillhouse.datasets.batches import Batch
from stillhouse.datasets.matching import metadata_value
from stillhouse.datasets.ranks import mixed, rank64
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.datasets import Curriculum

Order = Literal["shuffle", "source"] | Curriculum

_METADATA = "metadata:"
_LADDER = ("trivial", "easy", "medium", "hard", "expert")
"""Words for a difficulty, easiest first; others are sorted as text."""


def level_columns(order: Order) -> tuple[str, ...]:
    """Columns of answers.parquet that an order reads."""
    if not isinstance(order, Curriculum) or order.by in ("words", "tokens"):
        return ()
    return ("metadata",) if order.by.startswith(_METADATA) else (order.by,)


def level_texts(batch: Batch, order: Order) -> pa.StringArray | None:
    """What a curriculum sorts by, as text; None where it sorts by nothing of the row's own columns."""
    columns = level_columns(order)
    if not columns or not isinstance(order, Curriculum):
        return None
    if columns != ("metadata",):
        return batch.column(columns[0]).cast(pa.string())  # scores are numbers
    values = (metadata_value(text, order.by.removeprefix(_METADATA)) for text in batch.strings("metadata").to_pylist())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else canonical_json(value)


def level_values(codes: np.ndarray, words: list[str]) -> np.ndarray:
    """float64: where each row's level (a code into `words`, -1 for none) stands among all; nan for none.

    Numbers go by their size where all are numbers, words of difficulty from trivial to expert where all are such,
    and other text by its characters.
    """
    numbers = [_number(word) for word in words]
    if all(number is not None for number in numbers):
        values = [float(number) for number in numbers if number is not None]
    else:
        lowered = [word.strip().lower() for word in words]
        known = all(word in _LADDER for word in lowered)
        ranks = {word: float(rank) for rank, word in enumerate(_LADDER if known else sorted(words))}
        values = [ranks[word] for word in (lowered if known else words)]
    return np.append(np.array(values, np.float64), np.nan)[codes]


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def shuffled(seed: int, keys: np.ndarray, number: np.ndarray, copy: np.ndarray) -> np.ndarray:
    """uint64 ranks of a seeded shuffle: of the prompt, the example's `number` among the prompt's, and its copy."""
    ranks = rank64(seed, "order", keys)
    with np.errstate(over="ignore"):
        step = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + copy.astype(np.uint64) * np.uint64(
            0xD1B54A32D192ED03
        )
    return np.where(step == 0, ranks, mixed(ranks ^ step))
