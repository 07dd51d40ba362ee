"""Counts and hashes of many texts at once: the plain functions of `text` and `hashing`, made fast.

Compiled kernels take texts of ASCII, Latin-1 letters and typographic punctuation; the plain functions take the
others, and all where there are few texts. Both give the same. A call works in the thread that makes it, without
Python's lock: who has several batches gives them to several threads.
"""

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from stillhouse.datasets import greedy, hashing, text

WORTH = 2_000
"""Texts from which loading numba's kernels (about a second) pays."""

WORTH_PAIRS = 20_000
"""Pairs to be compared from which it pays."""


def worth(count: int) -> bool:
    """Whether `count` texts are enough for the compiled kernels; below, numba is not even imported."""
    return count >= WORTH


def threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Counts(NamedTuple):
    """int32, one a text: `text.count_words` and `text.count_contractions`."""

    words: np.ndarray
    contractions: np.ndarray


def counts(strings: pa.StringArray) -> Counts:
    """Words and contractions of every text."""
    found = _uncounted(len(strings))
    if worth(len(strings)):
        from stillhouse.datasets import compiled_texts

        compiled_texts.counts(*utf8(strings), *found)
    return _filled(strings, found)


def _uncounted(rows: int) -> Counts:
    return Counts(*(np.full(rows, -1, np.int32) for _ in range(2)))


def _filled(strings: pa.StringArray, found: Counts) -> Counts:
    """The counts with those of the texts that the kernels left out."""
    for row in np.flatnonzero(found.words < 0).tolist():
        one = strings[row].as_py()
        found.words[row], found.contractions[row] = text.count_words(one), text.count_contractions(one)
    return found


@dataclass(frozen=True)
class Tokens:
    """The words (`text.words`) of many texts.

    `hashes` (uint64) are those of all words, `heads` (uint32) their first three bytes as numbers; a text's words are
    `counts` ones from `begins` on (int64).
    """

    hashes: np.ndarray
    heads: np.ndarray
    begins: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.begins)

    def take(self, rows: np.ndarray) -> "Tokens":
        """Some of the texts; `rows` are their numbers, or a mask."""
        return Tokens(self.hashes, self.heads, self.begins[rows], self.counts[rows])

    def of(self, row: int) -> np.ndarray:
        """Hashes of one text's words."""
        return self.hashes[self.begins[row] : self.begins[row] + self.counts[row]]


def tokens(strings: pa.StringArray) -> Tokens:
    """The words of every text."""
    return tokens_and_counts(strings)[0]


def tokens_and_counts(strings: pa.StringArray) -> tuple[Tokens, Counts]:
    """`tokens` and `counts` in one go, which takes little more than the first alone."""
    begins, number = np.zeros(len(strings), np.int64), np.zeros(len(strings), np.int64)
    hashes, heads = np.empty(0, np.uint64), np.empty(0, np.uint32)
    counted = _uncounted(len(strings))
    if worth(len(strings)):
        from stillhouse.datasets import compiled_texts

        hashes, heads, begins, number = compiled_texts.tokens(*utf8(strings), *counted)
    parts, firsts, end = [hashes], [heads], len(hashes)
    left = np.flatnonzero(number == 0).tolist()
    for row in left:
        words = text.words(strings[row].as_py())
        parts.append(hashing.word_hashes(words))
        firsts.append(np.array([int.from_bytes(_utf8(word)[:3], "big") for word in words], np.uint32))
        begins[row], number[row], end = end, len(words), end + len(words)
    if left:
        hashes, heads = np.concatenate(parts), np.concatenate(firsts)
    return Tokens(hashes, heads, begins, number), _filled(strings, counted)


def _utf8(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")


def repeated_shares(words: Tokens, size: int) -> np.ndarray:
    """float64: `text.repeated_share` of every text for runs of `size` words."""
    if not worth(len(words)):
        return np.array([hashing.repeated_share(words.of(row), size) for row in range(len(words))], np.float64)
    out = np.empty(len(words))
    _compiled().repeated_shares(words.hashes, words.begins, words.counts, size, out)
    return out


def normal_digests(words: Tokens) -> np.ndarray:
    """uint64[n, 2]: equal for texts of the same normal form only."""
    out = np.empty((len(words), 2), np.uint64)
    if worth(len(words)):
        _compiled().digests(words.hashes, words.begins, words.counts, out)
    else:
        out[:] = [hashing.digest(words.of(row)) for row in range(len(words))] or out
    return out


def band_hashes(words: Tokens, banding: hashing.Banding) -> np.ndarray:
    """uint64[n, bands]: `hashing.band_hashes` of the 3-word shingles of every text."""
    out = np.empty((len(words), banding.bands), np.uint64)
    if worth(len(words)):
        _compiled().bands(words.hashes, words.begins, words.counts, *banding.functions, out)
    else:
        for row in range(len(words)):
            out[row] = hashing.band_hashes(hashing.shingle_hashes(words.of(row)), banding)
    return out


class ShingleSets(NamedTuple):
    """Sorted hashes (uint64) of each text's different shingles, one text after the other; where each begins (int64)."""

    values: np.ndarray
    starts: np.ndarray


def shingle_sets(words: Tokens) -> ShingleSets:
    """The 3-word shingles of every text."""
    sizes = np.zeros(len(words) + 1, np.int64)
    if not worth(len(words)):
        sets = [np.unique(hashing.shingle_hashes(words.of(row))) for row in range(len(words))]
        sizes[1:] = [len(one) for one in sets]
        return ShingleSets(np.concatenate([*sets, np.empty(0, np.uint64)]), sizes.cumsum())
    values = np.empty(int(np.maximum(words.counts, 1).sum()), np.uint64)
    end = _compiled().shingle_sets(words.hashes, words.begins, words.counts, values, sizes[1:])
    return ShingleSets(values[:end].copy(), sizes.cumsum())


def choose(
    order: np.ndarray, groups: np.ndarray, shingles: ShingleSets, threshold: float, asks: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`greedy.choose` of some rows, compiled where many meet.

    Args:
        order: int64, the numbers of the rows in `groups` and `shingles`, in the order in which they are taken.
        groups: int64[n, bands], the group in which each row meets others, -1 for none.
        shingles: of all n rows.
        threshold: Jaccard similarity from which two rows are too similar.
        asks: which rows of `order` may go, the others being the reasons; None: all are both.

    Returns:
        For each row of `order` the row by which it goes (its number; -1: it stays), and how similar (0 to 1).
    """
    sizes = np.bincount(groups[groups >= 0])
    many = worth(len(order)) or int((sizes * (sizes - 1)).sum()) > 2 * WORTH_PAIRS
    own = _compiled() if many else greedy
    words = 1 << int(np.clip(len(shingles.values) // max(16 * len(groups), 1), 4, 63)).bit_length() - 1
    kept, near = own.choose(
        groups[order],
        np.concatenate([[0], sizes]).astype(np.int64).cumsum(),
        shingles.values,
        np.stack([shingles.starts[order], shingles.starts[order + 1]], axis=1),
        own.sketches(shingles.values, shingles.starts, words)[order],
        np.ones(len(order), np.bool_) if asks is None else asks,
        np.ones(len(order), np.bool_) if asks is None else ~asks,
        threshold,
    )
    return np.where(kept >= 0, order[kept], -1), near


def suspects(words: Tokens, held_out: Any) -> np.ndarray:
    """int64: numbers of the texts that a `leak_index.Index` cannot clear; all of them where there are few."""
    if not worth(len(words)):
        return np.arange(len(words))
    from stillhouse.datasets import compiled_leaks

    out = np.empty(len(words), np.bool_)
    compiled_leaks.suspects(words.hashes, words.heads, words.begins, words.counts, held_out, out)
    return np.flatnonzero(out)


def utf8(strings: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of an Arrow array of texts, and where each text begins (int64; one more than there are texts).

    Views of the array's own memory, but for the offsets.
    """
    _, offsets, data = strings.buffers()
    kind = np.int64 if pa.types.is_large_string(strings.type) else np.int32
    own = np.frombuffer(offsets, kind)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return content[own[0] : own[-1]], own - own[0]


def _compiled() -> Any:
    from stillhouse.datasets import compiled_runs

    return compiled_runs
