"""Near-duplicates by word shingles: MinHash bands propose rows, exact Jaccard similarity decides.

Two passes over the texts. The first keeps a few hashes a row (`Signatures`); the second fetches only the texts of
rows that meet another in a band. Then rows are taken in a stated order, and one goes only if it is too similar to a
row that stays.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stillhouse.datasets import kernels
from stillhouse.datasets.hashing import Banding
from stillhouse.datasets.in_turn import in_turn
from stillhouse.datasets.kernels import Tokens

BLOCK_ROWS = 10_000
"""Fewest texts of the second pass that are compared at once, as far as there are so many."""

Texts = Callable[[np.ndarray], Iterable[pa.StringArray]]
"""Gives the texts of rows (int64, ascending) in their order, in parts of any size."""


class Signatures:
    """What is kept of every text: for 128 permutations and threshold 0.85 it is 168 bytes.

    Args:
        threshold: Jaccard similarity of 3-word shingles from which texts are near-duplicates.
        permutations: hash functions of a signature.
    """

    def __init__(self, threshold: float, permutations: int) -> None:
        self.banding = Banding(threshold, permutations)
        self._rows: list[np.ndarray] = []
        self._bands: list[np.ndarray] = []
        self._count = 0

    def bands_of(self, words: Tokens) -> np.ndarray:
        """What is kept of texts, to be given to `add`; may be called from any thread."""
        return kernels.band_hashes(words, self.banding)

    def add(self, bands: np.ndarray, alive: np.ndarray | None = None) -> None:
        """Take the next texts; they are numbered on.

        Args:
            bands: `bands_of` those that are `alive`.
            alive: one bool a text, None: all are; the others are counted only.
        """
        kept = np.arange(len(bands)) if alive is None else np.flatnonzero(alive)
        self._rows.append(kept + self._count)
        self._bands.append(bands)
        self._count += len(bands) if alive is None else len(alive)

    @property
    def nbytes(self) -> int:
        """Bytes that the signatures take."""
        return sum(part.nbytes for part in (*self._rows, *self._bands))

    def pairs(self, texts: Texts, alive: np.ndarray | None = None, apart: np.ndarray | None = None) -> "Pairs":
        """What may be similar, with the shingles that decide it.

        Args:
            texts: asked once for the texts of all rows that met another.
            alive: one bool for every row added; the others, lost since they were added, are left out.
            apart: uint64 for every row added; rows in which it differs do not meet.
        """
        rows = np.concatenate(self._rows) if self._rows else np.empty(0, np.int64)
        chosen = None if alive is None else alive[rows]
        rows = rows if chosen is None else rows[chosen]
        others = np.uint64(0) if apart is None else apart[rows]

        def meet(band: int) -> _Meetings:
            column = np.concatenate([part[:, band] for part in self._bands]) if self._bands else np.empty(0, np.uint64)
            return _meetings(rows, (column if chosen is None else column[chosen]) ^ others)

        with ThreadPoolExecutor(min(kernels.threads(), 4)) as pool:  # sorting takes no lock, and memory for each band
            meetings = list(pool.map(meet, range(self.banding.bands)))
        proposed = np.zeros(self._count, bool)
        for met in meetings:
            proposed[met.rows] = True
        candidates, places = np.flatnonzero(proposed), np.cumsum(proposed) - 1
        groups = np.full((len(candidates), self.banding.bands), -1, np.int64)
        begin = 0
        for band, met in enumerate(meetings):
            groups[places[met.rows], band] = met.groups + begin
            begin += met.groups.max(initial=-1) + 1
        return Pairs(self.banding.threshold, candidates, groups, _fetched(candidates, texts))


@dataclass(frozen=True)
class _Meetings:
    """Rows that meet another in one band, and the number of the group in which each of them does."""

    rows: np.ndarray
    groups: np.ndarray


def _meetings(rows: np.ndarray, hashes: np.ndarray) -> _Meetings:
    places = np.argsort(hashes)
    ordered = hashes[places]
    same = ordered[1:] == ordered[:-1]
    met = np.append(same, False) | np.append(False, same)
    groups = np.cumsum(np.append(False, ~same)[met[: len(ordered)]]) if len(ordered) else places
    return _Meetings(rows[places[met[: len(ordered)]]], groups)


def _fetched(rows: np.ndarray, texts: Texts) -> kernels.ShingleSets:
    made = in_turn(lambda block: kernels.shingle_sets(kernels.tokens(block)), _blocks(texts(rows)), kernels.threads())
    found = [sets for _, sets in made]
    counts = [np.diff(sets.starts) for sets in found]
    values = np.concatenate([sets.values for sets in found] or [np.empty(0, np.uint64)])
    return kernels.ShingleSets(values, np.concatenate([[0], *counts]).astype(np.int64).cumsum())


def _blocks(parts: Iterable[pa.StringArray]) -> Iterator[pa.StringArray]:
    """The same texts in blocks; the last takes what is left, as few texts would go the slow way."""
    waiting: list[pa.StringArray] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= 2 * BLOCK_ROWS:
            whole = pa.concat_arrays(waiting)
            yield whole[:BLOCK_ROWS]
            waiting, count = [whole[BLOCK_ROWS:]], count - BLOCK_ROWS
    if waiting:
        yield pa.concat_arrays(waiting)


@dataclass(frozen=True)
class Pairs:
    """Rows that met another in a band and so are proposed for a closer look, ascending; the group of each in each band (-1: none); and their shingles.

    Which of them really are similar is found out while rows are kept or dropped: of ten thousand rows alike, each is
    compared with the one that stays, not with all.
    """

    threshold: float
    rows: np.ndarray
    groups: np.ndarray = field(repr=False)
    shingles: kernels.ShingleSets = field(repr=False)


def keep_first(pairs: Pairs, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the first of similar rows.

    Args:
        pairs: what `Signatures.pairs` found.
        order: rows (int64) in the order in which they are to be kept; those that are not in it take no part.

    Returns:
        Dropped rows in that order; for each the earliest row that stays and is at least as similar as the threshold,
        of those that it met; and how similar the two are (0 to 1).
    """
    if not len(pairs.rows):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
    places = np.searchsorted(pairs.rows, order).clip(max=len(pairs.rows) - 1)
    taken = places[pairs.rows[places] == order]
    kept, near = kernels.choose(taken, pairs.groups, pairs.shingles, pairs.threshold)
    gone = kept >= 0
    return pairs.rows[taken[gone]], pairs.rows[kept[gone]], near[gone]
