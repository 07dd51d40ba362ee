"""Scores of a source's answers, out of quality.parquet: a column beside those of answers.parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse.datasets.ranks import prompt_keys
from stillhouse.errors import InputError

QUALITY = "quality"
"""Name of the column: float64, null where an answer has no score."""

_READ = ["prompt_id", "sample", "score"]


class Scores:
    """The scores of one quality.parquet by prompt and sample, in 24 bytes an answer.

    Raises `InputError` where the file is missing, is none of its kind, or tells two scores of one answer.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            ids, samples, scores = pq.read_table(path, columns=_READ).select(_READ).combine_chunks()
        except (FileNotFoundError, pa.ArrowInvalid, KeyError) as error:
            raise InputError(f"{path}: not a parquet file with the columns {', '.join(_READ)}: {error}") from None
        keys, sample = _keys(ids), _numbers(samples)
        self._prompts, self._span = np.unique(keys), int(sample.max(initial=0)) + 1
        places = np.searchsorted(self._prompts, keys) * self._span + sample
        order = np.argsort(places)
        self._places, self._scores = places[order], _values(scores)[order]
        twice = np.flatnonzero(self._places[1:] == self._places[:-1])
        if len(twice):
            raise InputError(f"{path}: prompt {ids[int(order[twice[0]])]}: one answer has two scores")

    def of(self, prompt_ids: pa.Array, samples: pa.Array) -> pa.DoubleArray:
        """The scores of answers; null for those that have none. Raises `InputError` for an answer that the file lacks."""
        sample = _numbers(samples)
        prompt, known = _look_up(self._prompts, _keys(prompt_ids))
        place, there = _look_up(self._places, prompt * self._span + np.minimum(sample, self._span - 1))
        known &= there & (sample < self._span)
        if not known.all():
            row = int(np.argmin(known))
            told = f"answer {sample[row]} to prompt {prompt_ids[row]}"
            raise InputError(f"{self._path}: no line for {told}; remove the file, so that it is made anew")
        scores = self._scores[place]
        return pa.array(scores, pa.float64(), mask=np.isnan(scores))


def _look_up(ordered: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places of the `wanted` values in `ordered`, whether each is there)."""
    if not len(ordered):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return places, ordered[places] == wanted


def _keys(prompt_ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    ids = prompt_ids.combine_chunks() if isinstance(prompt_ids, pa.ChunkedArray) else prompt_ids
    return prompt_keys(ids.cast(pa.string()))


def _numbers(samples: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Numbers of answers; of before there were samples, 0."""
    return np.asarray(pc.fill_null(samples.cast(pa.int64()), 0))


def _values(scores: pa.ChunkedArray) -> np.ndarray:
    """float64, nan for null."""
    return np.asarray(pc.fill_null(scores.cast(pa.float64()), np.nan))
