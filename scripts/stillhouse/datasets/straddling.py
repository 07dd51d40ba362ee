"""Prompts that are alike but stand in different splits: what train holds is not to be asked in valid or test."""

from dataclasses import dataclass

import numpy as np

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
        self._members: list[tuple[np.ndarray, np.ndarray]] = []
        for groups in pairs.groups.T:
            order = np.argsort(groups, kind="stable")
            self._members.append((order, groups[order]))

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
            found += self._of_split(np.flatnonzero(own == number), np.where(own < number, own, -1), place)
            own[np.isin(self._pairs.rows, [one.row for one in found])] = -1
        return sorted(found, key=lambda one: int(place[one.row]))

    def _of_split(self, candidates: np.ndarray, earlier: np.ndarray, place: np.ndarray) -> list[Straddler]:
        """Of the candidates those that are alike to one in an `earlier` split (-1: none), each with the first of them."""
        met: dict[bytes, list[int]] = {}  # rows of one text share all groups, and there may be thousands of them
        found = []
        for one in candidates.tolist():
            groups = self._pairs.groups[one].tobytes()
            if groups not in met:
                others = [other for other in self._met(one) if earlier[other] >= TRAIN]
                met[groups] = sorted(others, key=lambda other: int(place[self._pairs.rows[other]]))
            for other in met[groups]:
                similarity = self._similarity(one, other)
                if similarity >= self._pairs.threshold:
                    rows = int(self._pairs.rows[one]), int(self._pairs.rows[other])
                    found.append(Straddler(*rows, int(earlier[other]), similarity))
                    break
        return found

    def _met(self, candidate: int) -> list[int]:
        """Candidates that share a group with this one in any band."""
        met: set[int] = set()
        for (order, ordered), group in zip(self._members, self._pairs.groups[candidate].tolist(), strict=True):
            if group >= 0:
                first, last = np.searchsorted(ordered, [group, group + 1])
                met.update(order[first:last].tolist())
        return sorted(met)

    def _similarity(self, one: int, other: int) -> float:
        first, second = (self._shingles(place) for place in (one, other))
        both = len(np.intersect1d(first, second, assume_unique=True))
        union = len(first) + len(second) - both
        return both / union if union else 0.0

    def _shingles(self, place: int) -> np.ndarray:
        values, starts = self._pairs.shingles
        return values[starts[place] : starts[place + 1]]
