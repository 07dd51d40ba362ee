"""The choice among similar rows, as a loop over arrays: Python runs it for few pairs, numba compiles it for many.

Templated prompts meet by the ten thousand in one group. What a row costs there is one look at each member that stays:
sketches tell most pairs apart without a look at their shingles, and never a pair that is similar (Sandes, Teodoro,
Melo: Bitmap filter: speeding up exact set similarity joins with bitwise operations, 2020).
"""

import numpy as np

_1, _2, _4, _6, _56 = (np.uint64(number) for number in (1, 2, 4, 6, 56))
_PAIRS, _FOURS, _EIGHTS = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
_8, _16, _32, _LOW = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(0x7F)


def sketches(values: np.ndarray, starts: np.ndarray, words: int) -> np.ndarray:
    """uint64[rows, words]: each bit tells whether an odd number of the row's shingles fall on it.

    A shingle that only one of two rows has changes one bit, so two sketches differ in no more bits than there are
    such shingles. `words` is a power of two.
    """
    rows = starts.size - 1
    sketched = np.zeros((rows, words), np.uint64)
    for row in range(rows):
        for place in range(starts[row], starts[row + 1]):
            value = values[place] >> _32
            sketched[row, np.int64(value >> _6) & (words - 1)] ^= _1 << (value & np.uint64(63))
    return sketched


def bits_apart(one: np.ndarray, other: np.ndarray, most: int) -> int:
    """In how many bits two sketches differ, counted until there are more than `most`."""
    apart = 0
    for word in range(one.size):
        bits = one[word] ^ other[word]
        bits = bits - ((bits >> _1) & _PAIRS)
        bits = (bits & _FOURS) + ((bits >> _2) & _FOURS)
        bits = (bits + (bits >> _4)) & _EIGHTS
        bits = bits + (bits >> _8)
        bits = bits + (bits >> _16)
        apart += np.int64((bits + (bits >> _32)) & _LOW)
        if apart > most:
            break
    return apart


def similarity_of(values: np.ndarray, one: np.ndarray, other: np.ndarray, left: int) -> float:
    """Jaccard similarity of two rows by where their shingles begin and end; -1 once more than `left` are in one only."""
    first, second, both = one[0], other[0], 0
    while left >= 0 and first < one[1] and second < other[1]:
        both += values[first] == values[second]
        left -= values[first] != values[second]
        follows = values[first] <= values[second]
        second += values[second] <= values[first]
        first += follows
    return both / (one[1] - one[0] + other[1] - other[0] - both) if left >= 0 else -1.0


def choose(
    groups: np.ndarray,
    begins: np.ndarray,
    values: np.ndarray,
    starts: np.ndarray,
    sketched: np.ndarray,
    asks: np.ndarray,
    joins: np.ndarray,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Take rows in order; one that asks goes if it is too similar to one before it that joined.

    Args:
        groups: int64[rows, bands], the group in which a row meets others, -1 for none.
        begins: int64[groups + 1], how many members the groups before each have.
        values: uint64, the sorted shingle hashes of all rows, in any order of the rows.
        starts: int64[rows, 2], where each row's shingles begin and end in `values`.
        sketched: `sketches` of the rows.
        asks: bool, whether a row may go.
        joins: bool, whether a row that does not go is a reason for later ones to go.
        threshold: Jaccard similarity from which two rows are too similar.

    Returns:
        By row: the first row that joined and is so similar (int64; -1: the row stays itself), and how similar.
    """
    rows, bands = groups.shape
    ends = begins.copy()  # of the rows of a group that joined, in order
    joined = np.empty(begins[-1], np.int64)
    kept, near = np.full(rows, -1, np.int64), np.zeros(rows, np.float64)
    sizes, seen = starts[:, 1] - starts[:, 0], np.full(rows, -1, np.int64)
    for row in range(rows):
        best, size = row, sizes[row]
        for band in range(bands if asks[row] else 0):
            group = groups[row, band]
            if group < 0:
                continue
            for member in range(begins[group], ends[group]):
                other = joined[member]
                if other >= best:
                    break
                # shingles that only one of the two may have; rounded up, as the exact test follows
                left = int((1.0 - threshold) / (1.0 + threshold) * (size + sizes[other]) + 1e-6)
                if abs(size - sizes[other]) > left:
                    continue
                if seen[other] == row or bits_apart(sketched[row], sketched[other], left) > left:
                    continue
                seen[other] = row
                similarity = similarity_of(values, starts[row], starts[other], left)
                if similarity >= threshold:
                    best, kept[row], near[row] = other, other, similarity
                    break
        if joins[row] and kept[row] < 0:
            for band in range(bands):
                group = groups[row, band]
                if group >= 0:
                    joined[ends[group]] = row
                    ends[group] += 1
    return kept, near
