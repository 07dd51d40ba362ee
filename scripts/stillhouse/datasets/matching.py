"""How often each row shall stand in the dataset: the source's `repeat` times that of every rule which takes the row."""

import json
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets.batches import Batch
from stillhouse.study.datasets import Match, Repeat, Source


def repeat_columns(repeats: list[Repeat]) -> tuple[str, ...]:
    """Columns of answers.parquet that the rules read besides the category and the prompt."""
    return ("metadata",) if any(match.metadata is not None for rule in repeats for match in _matches(rule)) else ()


def times_of(batch: Batch, source: Source, repeats: list[Repeat]) -> np.ndarray:
    """float64: how often each row of the batch shall stand in the dataset."""
    times = np.full(len(batch), source.repeat)
    for rule in repeats:
        taken = [_taken(batch, match) for match in _matches(rule)]
        times[(np.any if rule.any else np.all)(taken, axis=0)] *= rule.times
    return times


def _matches(rule: Repeat) -> list[Match]:
    return rule.any or rule.all or []


def _taken(batch: Batch, match: Match) -> np.ndarray:
    if match.category is not None:
        return pc.is_in(batch.column("category"), pa.array(match.category, pa.string())).to_numpy(zero_copy_only=False)
    if match.pattern is not None:
        return _where(batch.prompt_texts(), lambda text: re.search(match.pattern or "", text) is not None)
    if match.metadata is not None:
        wanted = match.equals if isinstance(match.equals, list) else [match.equals]
        return _where(batch.strings("metadata"), lambda text: _holds(text, match.metadata or "", wanted))
    return np.full(len(batch), match.generation == batch.generation)


def _where(texts: pa.StringArray, test: Callable[[str], bool]) -> np.ndarray:
    return np.fromiter(map(test, texts.to_pylist()), bool, len(texts))


def _holds(text: str, key: str, wanted: list[object]) -> bool:
    value = metadata_value(text, key)
    # True is 1 in Python and not in a study
    return any(type(value) is type(one) and value == one for one in wanted) or _same_number(value, wanted)


def _same_number(value: object, wanted: list[object]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return any(value == one for one in wanted if not isinstance(one, bool))


def metadata_value(text: str, key: str) -> object:
    """What a row's metadata (JSON text) holds under `key`; None where there is nothing."""
    try:
        metadata = json.loads(text) if text else {}
    except ValueError:
        return None
    return metadata.get(key) if isinstance(metadata, dict) else None
