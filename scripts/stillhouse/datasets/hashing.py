"""The hashes by which words, runs of words and whole texts are compared: 64 bits each, the same on every machine.

These plain forms serve small data and texts that the kernels leave out; `compiled_texts` and `compiled_runs` have the
same functions for many rows. Sums and products are modulo 2**64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

MASK = (1 << 64) - 1
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
MIX_FIRST, MIX_SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
STEP = 0x9E3779B97F4A7C15
SECOND_STEP = 0xD1B54A32D192ED03
HASH_SEED = 42
SHINGLE = 3

MISSED = 1e-4
"""Accepted chance that a pair right at the threshold is never proposed."""


def mix(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
    value = ((value ^ (value >> 30)) * MIX_FIRST) & MASK
    value = ((value ^ (value >> 27)) * MIX_SECOND) & MASK
    return value ^ (value >> 31)


@lru_cache(maxsize=1 << 16)
def word_hash(word: str) -> int:
    """FNV-1a of the word's UTF-8 bytes, mixed."""
    value = FNV_OFFSET
    for byte in word.encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * FNV_PRIME) & MASK
    return mix(value)


def word_hashes(words: Sequence[str]) -> np.ndarray:
    """uint64: `word_hash` of every word."""
    return np.fromiter(map(word_hash, words), np.uint64, len(words))


def run_hashes(hashes: np.ndarray, size: int) -> np.ndarray:
    """uint64: hashes of all runs of `size` neighbouring words, in their order; none when there are fewer words.

    `hashes` are those of the words.
    """
    count = max(len(hashes) - size + 1, 0)
    value = np.full(count, (size * STEP) & MASK, np.uint64)
    for place in range(size if count else 0):
        value = (value ^ hashes[place : place + count]) * np.uint64(MIX_FIRST)
        value ^= value >> np.uint64(29)
    return value


def shingle_hashes(hashes: np.ndarray) -> np.ndarray:
    """uint64: the hashes of `text.shingles` of 3 words: a shorter text is one shingle."""
    return run_hashes(hashes, min(SHINGLE, len(hashes)))


def repeated_share(hashes: np.ndarray, size: int) -> float:
    """`text.repeated_share` out of the words' hashes."""
    runs = run_hashes(hashes, size)
    return (len(runs) - len(np.unique(runs))) / len(runs) if len(runs) else 0.0


def digest(hashes: np.ndarray) -> tuple[int, int]:
    """128 bits that tell one sequence of words from another, out of the words' hashes."""
    first = second = len(hashes)
    for place, hashed in enumerate(hashes.tolist(), 1):
        first += mix((hashed + place * STEP) & MASK)
        second += mix((hashed + place * SECOND_STEP) & MASK)
    return first & MASK, second & MASK


@dataclass(frozen=True)
class Banding:
    """MinHash signatures of `permutations` hash functions, cut into bands: texts that agree in a band are proposed.

    Broder: On the resemblance and containment of documents, 1997; bands: Leskovec, Rajaraman, Ullman: Mining of
    Massive Datasets, chapter 3.
    """

    threshold: float
    permutations: int

    @cached_property
    def rows(self) -> int:
        """Most hash functions a band with which a pair at the threshold is missed with a chance of at most `MISSED`.

        A pair of similarity t agrees in all r rows of one band with t**r, so b bands miss it with (1 - t**r)**b.
        """
        for rows in range(self.permutations, 1, -1):
            if (1.0 - self.threshold**rows) ** (self.permutations // rows) <= MISSED:
                return rows
        return 1

    @cached_property
    def bands(self) -> int:
        """Number of bands; hash functions that fill none are not used."""
        return self.permutations // self.rows

    @cached_property
    def functions(self) -> tuple[np.ndarray, np.ndarray]:
        """uint32 factors (odd) and summands of the functions h -> factor * h + summand modulo 2**32."""
        drawn = [mix((HASH_SEED + number * STEP) & MASK) >> 32 for number in range(2 * self.bands * self.rows)]
        values = np.array(drawn, np.uint32).reshape(2, -1)
        return values[0] | np.uint32(1), values[1]


def band_hashes(shingles: np.ndarray, banding: Banding) -> np.ndarray:
    """uint64, one a band: of the smallest values that the band's hash functions give over all `shingles`."""
    factors, summands = banding.functions
    short = (shingles >> np.uint64(32)).astype(np.uint32)
    lowest = (factors[:, None] * short[None, :] + summands[:, None]).min(axis=1).reshape(banding.bands, banding.rows)
    value = np.arange(banding.bands, dtype=np.uint64)
    for place in range(banding.rows):
        value = (value ^ lowest[:, place]) * np.uint64(MIX_FIRST)
        value ^= value >> np.uint64(29)
    return value
