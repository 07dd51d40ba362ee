"""Kernels over the hashed words of many texts: runs of words, digests, MinHash bands; `kernels` calls them.

Words come as `kernels.Tokens`: the hashes of all texts in one array, where each text's begin, and how many they are.
"""

import numpy as np
from numba.extending import register_jitable

from stillhouse.datasets import greedy
from stillhouse.datasets.hashing import MIX_FIRST, MIX_SECOND, SECOND_STEP, STEP
from stillhouse.datasets.jit import kernel

_FIRST, _SECOND = np.uint64(MIX_FIRST), np.uint64(MIX_SECOND)
_STEPS = (np.uint64(STEP), np.uint64(SECOND_STEP))
_29, _30, _27, _31, _32 = (np.uint64(bits) for bits in (29, 30, 27, 31, 32))

for part in (greedy.bits_apart, greedy.similarity_of):
    register_jitable(part)  # what `choose` calls is compiled with it
choose, sketches = kernel(greedy.choose), kernel(greedy.sketches)


@kernel
def mix(value):
    """As `hashing.mix`."""
    value = (value ^ (value >> _30)) * _FIRST
    value = (value ^ (value >> _27)) * _SECOND
    return value ^ (value >> _31)


@kernel
def run_hash(hashes, start, size):
    """As `hashing.run_hashes`, of one run."""
    value = np.uint64(size) * _STEPS[0]
    for place in range(start, start + size):
        value = (value ^ hashes[place]) * _FIRST
        value ^= value >> _29
    return value


@kernel
def repeated_shares(hashes, begins, counts, length, out):
    """`text.repeated_share` of every text."""
    table = np.empty(0, np.uint64)
    for row in range(begins.size):
        total = counts[row] - length + 1
        if 4 * total > table.size:
            table = np.empty(8 * total, np.uint64)
        out[row] = _repeats(hashes, begins[row], total, length, table) / total if total > 0 else 0.0


@kernel
def _repeats(hashes, begin, total, length, table):
    """How many of `total` runs stood before; `table` is scratch of four places a run."""
    size = 1
    while size < 2 * total:
        size *= 2
    for place in range(size):  # `table[:size] = 0` is a loop that the compiler leaves as it is
        table[place] = 0
    repeats = 0
    for start in range(begin, begin + total):
        value = run_hash(hashes, start, length) | np.uint64(1)  # 0 marks an empty place
        place = (value >> _32) & np.uint64(size - 1)
        while table[place] != 0 and table[place] != value:
            place = (place + np.uint64(1)) & np.uint64(size - 1)
        repeats += table[place] == value
        table[place] = value
    return repeats


@kernel
def digests(hashes, begins, counts, out):
    """`hashing.digest` of every text."""
    for row in range(begins.size):
        first = second = np.uint64(counts[row])
        for place in range(counts[row]):
            value = hashes[begins[row] + place]
            first += mix(value + np.uint64(place + 1) * _STEPS[0])
            second += mix(value + np.uint64(place + 1) * _STEPS[1])
        out[row, 0], out[row, 1] = first, second


@kernel
def bands(hashes, begins, counts, factors, summands, out):
    """`hashing.band_hashes` of the 3-word shingles of every text."""
    lowest = np.empty(factors.size, np.uint32)
    rows = factors.size // out.shape[1]
    for row in range(begins.size):
        lowest[:] = np.uint32(0xFFFFFFFF)
        size = min(3, counts[row])
        for place in range(begins[row], begins[row] + counts[row] - size + 1):
            short = np.uint32(run_hash(hashes, place, size) >> _32)
            for number in range(factors.size):  # the hot loop: the compiler makes vector instructions of it
                lowest[number] = min(lowest[number], np.uint32(factors[number] * short + summands[number]))
        for band in range(out.shape[1]):
            value = np.uint64(band)
            for number in range(band * rows, (band + 1) * rows):
                value = (value ^ np.uint64(lowest[number])) * _FIRST
                value ^= value >> _29
            out[row, band] = value


@kernel
def shingle_sets(hashes, begins, counts, values, sizes):
    """Sorted hashes of the different 3-word shingles of every text, one text after the other, and how many they are.

    `values` has room for a shingle a word, and one for each text without words.
    """
    end = 0
    for row in range(begins.size):
        begin, size = end, min(3, counts[row])
        for place in range(begins[row], begins[row] + counts[row] - size + 1):
            values[end] = run_hash(hashes, place, size)
            end += 1
        values[begin:end].sort()
        last, end = end, begin
        for place in range(begin, last):
            if place == begin or values[place] != values[end - 1]:
                values[end] = values[place]
                end += 1
        sizes[row] = end - begin
    return end
