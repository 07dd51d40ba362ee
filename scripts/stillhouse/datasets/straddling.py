"""Prompts that are alike but stand in different splits: what train holds is not to be asked in valid or test."""

from dataclasses import dataclass

import numpy as np

from stillhouse.datasets import kernels
from stillhouse.datasets.near_duplicates import Pairs
from stillhouse.datasets.split import SPLITS, TRAIN


@dataclass(frozen=True)
class Straddler:
    """A row whose prompt is nearly that of `other`, which stands in the earlier split `near` (its number)."""

    row: int
    other: int
    near: int
    similarity: float


class Alike:
    """Rows whose prompts may be alike, by the groups in which MinHash bands put them."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs

    def straddlers(self, rows: np.ndarray, split: np.ndarray, place: np.ndarray) -> list[Straddler]:
        """Of `rows` (int64, with each one's `split`) those outside train that are alike to a row of an earlier split.

        One that is named itself is no reason to name another. `place` tells, for every row of all sources, where it
        stands in the total order: of several alike rows the first is told.
        """
        own = np.full(len(self._pairs.rows), -1, np.int8)  # by candidate: its split, -1 where it takes no part
        at = np.searchsorted(self._pairs.rows, rows).clip(max=max(len(own) - 1, 0))
        there = self._pairs.rows[at] == rows if len(own) else np.zeros(len(rows), bool)
        own[at[there]] = split[there]
        found: list[Straddler] = []
        for number in range(TRAIN + 1, len(SPLITS)):
            found += self._of_split(own, number, place)
            own[np.isin(self._pairs.rows, [one.row for one in found])] = -1
        return sorted(found, key=lambda one: int(place[one.row]))

    def _of_split(self, own: np.ndarray, number: int, place: np.ndarray) -> list[Straddler]:
        """Of the candidates in split `number` those that are alike to one in an earlier split, with the first of them."""
        pairs = self._pairs
        later, earlier = np.flatnonzero(own == number), np.flatnonzero((own >= TRAIN) & (own < number))
        earlier = earlier[np.argsort(place[pairs.rows[earlier]])]
        order = np.concatenate([earlier, later])
        asks = np.arange(len(order)) >= len(earlier)
        kept, near = kernels.choose(order, pairs.groups, pairs.shingles, pairs.threshold, asks)
        gone = np.flatnonzero(kept >= 0)
        return [
            Straddler(int(pairs.rows[order[one]]), int(pairs.rows[kept[one]]), int(own[kept[one]]), float(near[one]))
            for one in gone.tolist()
        ]
