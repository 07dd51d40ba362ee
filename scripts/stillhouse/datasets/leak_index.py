"""The held-out prompts as `compiled_leaks.suspects` looks them up: open tables of hashes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

LEAST_MARKS = 4096
"""Words of 64 bits; so many stay in the processor's cache."""


class Table(NamedTuple):
    """Keys, and the held-out prompts of each.

    `places` is an open table of hashes (uint64, a power of two of them; 0 is an empty place, so that the lowest bit of
    a hash does not count). The key at a place has a number in `numbers`; the prompts of number k are
    `prompts[starts[k] : starts[k + 1]]`, ascending (int64).
    """

    places: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray
    prompts: np.ndarray


class Index(NamedTuple):
    """What the kernel is told: tables, sizes of prompts, and the bounds of the tests."""

    ngram: int
    runs: np.ndarray
    contained: int
    shorts: np.ndarray
    shingles: Table
    marks: np.ndarray
    """Bits of the shingles, by their hashes: a first look at what is mostly not there."""
    shingle_counts: np.ndarray
    threshold: float
    long: np.ndarray
    dilution: float
    stems: Table
    stem_counts: np.ndarray
    most_stems: int
    content: float
    least_content: int


def open_table(hashes: Iterable[int]) -> np.ndarray:
    """The places of a table without prompts."""
    keys = np.array(list(hashes), np.uint64)
    return _filled(keys, np.zeros(len(keys), np.int32))[0]


def marks(hashes: Sequence[int]) -> np.ndarray:
    """uint64: bits of which few are set by `hashes`, at least eight for each."""
    from stillhouse.datasets.compiled_leaks import mark

    found = np.zeros(max(LEAST_MARKS, 1 << (len(hashes) // 8).bit_length()), np.uint64)
    mark(found, np.array(hashes, np.uint64))
    return found


def table(holders: Mapping[object, Sequence[int]], hashes: Sequence[Iterable[int]], none: Iterable[int] = ()) -> Table:
    """A table of things by their `hashes`, of which one may have several; `holders` has the prompts of each, in order.

    What hashes to one of `none` has the number -1, and no prompts.
    """
    starts = np.cumsum([0, *map(len, holders.values())], dtype=np.int64)
    prompts = np.array([number for own in holders.values() for number in own], np.int64)
    keys = [(hashed, number) for number, one in enumerate(hashes) for hashed in one]
    keys += [(hashed, -1) for hashed in none]
    places, numbers = _filled(
        np.array([hashed for hashed, _ in keys], np.uint64), np.array([number for _, number in keys], np.int32)
    )
    return Table(places, numbers, starts, prompts)


def _filled(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from stillhouse.datasets.compiled_leaks import fill

    size = 1 << (len(keys) * 3 // 2).bit_length()  # small tables stay in the cache
    places, numbers = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    fill(places, keys, numbers, values)
    return places, numbers
