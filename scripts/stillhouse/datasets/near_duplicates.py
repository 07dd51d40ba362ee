"""Duplicate prompts: the same by normal form, or nearly the same by word shingles.

MinHash with banding (rensa) proposes pairs, exact Jaccard decides, and connected pairs make a cluster. Of
a cluster the row of the earliest source with the smallest prompt_id stays, whatever the order of the rows.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from rensa import RMinHash, RMinHashLSH

from stillhouse.datasets.rows import Row
from stillhouse.datasets.text import Shingle, jaccard, normal_form, shingles

PERMUTATIONS = 256
HASH_SEED = 42
MISSED = 1e-9
"""Accepted chance that a pair right at the threshold is never proposed."""


@dataclass(frozen=True)
class Duplicate:
    """A dropped row, the row that stays in its place, and how alike the prompts are (0 to 1).

    A row may hang on the kept one by a chain of others; then `similarity` can lie below the threshold.
    """

    row: Row
    kept: Row
    similarity: float


@dataclass(frozen=True)
class Deduplicated:
    """Rows that stay, in the order of their keys, and those that go."""

    kept: list[Row]
    dropped: list[Duplicate]


def drop_repeats(rows: list[Row], columns: tuple[str, ...]) -> Deduplicated:
    """Drop rows whose prompt and text `columns` (the answer, say) all stand already in an earlier row."""
    return _drop_by(rows, lambda row: (row.prompt.messages, *(row.data[column].strip() for column in columns)))


def drop_exact(rows: list[Row]) -> Deduplicated:
    """Drop rows whose prompt has the normal form of an earlier row's prompt."""
    return _drop_by(rows, lambda row: normal_form(row.prompt.text))


def _drop_by(rows: list[Row], identity: Callable[[Row], Hashable]) -> Deduplicated:
    first: dict[Hashable, Row] = {}
    kept, dropped = [], []
    for row in sorted(rows, key=lambda row: row.key):
        winner = first.setdefault(identity(row), row)
        if winner is row:
            kept.append(row)
        else:
            dropped.append(Duplicate(row, winner, 1.0))
    return Deduplicated(kept, dropped)


def drop_near(rows: list[Row], threshold: float) -> Deduplicated:
    """Drop all but the first row of every cluster of prompts with a shingle Jaccard of at least `threshold`.

    Below a threshold of about 0.08 some pairs may be missed, as no banding proposes them all.
    """
    ordered = sorted(rows, key=lambda row: row.key)
    sets = [shingles(row.prompt.text) for row in ordered]
    parents = list(range(len(ordered)))
    for first, second in similar_pairs(sets, threshold):
        low, high = sorted((_root(parents, first), _root(parents, second)))
        parents[high] = low
    kept, dropped = [], []
    for number, row in enumerate(ordered):
        root = _root(parents, number)
        if root == number:
            kept.append(row)
        else:
            dropped.append(Duplicate(row, ordered[root], jaccard(sets[number], sets[root])))
    return Deduplicated(kept, dropped)


def _root(parents: list[int], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def similar_pairs(sets: list[frozenset[Shingle]], threshold: float) -> list[tuple[int, int]]:
    """Pairs of positions (first < second) whose Jaccard similarity is at least `threshold`, sorted."""
    # Rensa takes texts; a shingle's words hold no spaces, so joining loses nothing.
    texts = [sorted(" ".join(shingle) for shingle in one) for one in sets]
    sketches = RMinHash.from_token_sets(texts, PERMUTATIONS, HASH_SEED)
    index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=bands_for(threshold))
    index.insert_many(sketches)
    proposed = {
        (number, other) if number < other else (other, number)
        for number, found in enumerate(index.query_all(sketches))
        for other in found
        if other != number
    }
    return sorted(pair for pair in proposed if jaccard(sets[pair[0]], sets[pair[1]]) >= threshold)


def bands_for(threshold: float) -> int:
    """Fewest bands of `PERMUTATIONS` rows that miss a pair at `threshold` with a chance of at most `MISSED`.

    A pair of similarity t agrees in all r rows of one band with t**r, so b bands miss it with (1 - t**r)**b
    (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3).
    """
    for rows in (32, 16, 8, 4, 2):
        bands = PERMUTATIONS // rows
        if (1.0 - threshold**rows) ** bands <= MISSED:
            return bands
    return PERMUTATIONS
