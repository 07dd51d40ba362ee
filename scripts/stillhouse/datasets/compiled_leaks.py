"""The kernel that clears texts of being near to any held-out prompt; `kernels.suspects` calls it.

It sees hashes where `decontaminate.HeldOut.judge` sees words. What it clears, that would find nothing for; what it
does not clear, that decides.
"""

import numpy as np

from stillhouse.datasets.compiled_runs import run_hash
from stillhouse.datasets.hashing import STEP
from stillhouse.datasets.jit import kernel
from stillhouse.datasets.text import UNSPACED

_STEP, _ONE = np.uint64(STEP), np.uint64(1)
_32, _52, _58 = (np.uint64(bits) for bits in (32, 52, 58))

HEADS = 1 << 12
"""Places for beginnings of words; `_52` leaves as many bits."""
_SHINGLE, _RUN = 1, 2
MARGIN = 1e-6
"""What a bound is off at most by rounding."""


@kernel
def enter(places, value):
    """Where `value` stands in an open table, entered if need be; and whether it is new. 0 marks an empty place."""
    value |= _ONE
    mask = np.uint64(places.size - 1)
    place = (value >> _32) & mask
    while places[place] != 0:
        if places[place] == value:
            return place, False
        place = (place + _ONE) & mask
    places[place] = value
    return place, True


@kernel
def fill(places, keys, numbers, values):
    """Enter `keys` into a table and the `values` of them at their places in `numbers`."""
    for key in range(keys.size):
        place, _ = enter(places, keys[key])
        numbers[place] = values[key]


@kernel
def _place(places, value):
    """Where `value` stands in an open table; -1 where it does not."""
    value |= _ONE
    mask = np.uint64(places.size - 1)
    place = (value >> _32) & mask
    while places[place] != 0:
        if places[place] == value:
            return np.int64(place)
        place = (place + _ONE) & mask
    return -1


@kernel
def mark(marks, values):
    """Set the bit of every value."""
    for value in values:
        marks[_mark_word(marks, value)] |= _ONE << (value >> _58)


@kernel
def _marked(marks, value):
    """False for a value that was not marked; mostly. It spares a look into a table that is too large for the cache."""
    return (marks[_mark_word(marks, value)] >> (value >> _58)) & _ONE


@kernel
def _mark_word(marks, value):
    return (value >> _32) & np.uint64(marks.size - 1)


def _head(code: int) -> int:
    return int.from_bytes(chr(code).encode(), "big")


_UNSPACED = np.array([(_head(first), _head(last)) for first, last in UNSPACED], np.uint32)
"""Bounds of the heads of tokens that are characters of scripts without spaces: three bytes each."""
_LOWEST = _UNSPACED.min()


@kernel
def _unspaced(head):
    """`text.is_unspaced`, by a token's head."""
    found = False
    for number in range(_UNSPACED.shape[0]):
        found |= _UNSPACED[number, 0] <= head <= _UNSPACED[number, 1]
    return found


@kernel
def _span(heads, start, size, spaced):
    """How many tokens from `start` on count `size` words, -1 where fewer follow; `spaced`: each token is a word."""
    if spaced:
        return size if start + size <= heads.size else -1
    halves, end = 0, start
    while end < heads.size and halves < 2 * size:
        halves += 1 if _unspaced(heads[end]) else 2
        end += 1
    return end - start if halves >= 2 * size else -1


@kernel
def _shingle(heads, start, spaced):
    """Length of the shingle that begins at `start`, -1 for none; a short text is one as a whole."""
    length = _span(heads, start, 3, spaced)
    return heads.size if length < 0 and start == 0 else length


@kernel
def suspects(hashes, heads, begins, counts, held_out, out):
    """True for each text that may be too near to a held-out prompt, False for those that cannot be.

    `held_out` is a `leak_index.Index`, the rest are `kernels.Tokens`.
    """
    longest, prompts = 1, held_out.shingle_counts.size
    for count in counts:
        longest = max(longest, count)
    shared, candidates = np.zeros(prompts, np.int64), np.empty(prompts, np.int64)
    own, found = np.empty(longest, np.uint64), np.empty(longest + 1, np.int64)
    met_stems, met_heads = np.full(held_out.stems.starts.size, -1, np.int64), np.full(HEADS, -1, np.int64)
    # out of `held_out` once: numba counts references to every array of it with each look, by locked instructions
    ngram, contained, marks, runs, shorts = (
        held_out.ngram, held_out.contained, held_out.marks, held_out.runs, held_out.shorts,
    )  # fmt: skip
    shingles, stems, numbers = held_out.shingles.places, held_out.stems.places, held_out.stems.numbers
    most = held_out.most_stems / held_out.content + MARGIN
    for row in range(begins.size):
        words = hashes[begins[row] : begins[row] + counts[row]]
        firsts = heads[begins[row] : begins[row] + counts[row]]
        spaced = True
        for head in firsts:
            spaced &= head < _LOWEST
        met = _met(words, firsts, spaced, ngram, contained, marks, runs, shorts, shingles)
        near = met == _RUN or (met == _SHINGLE and _near_by_shingles(words, firsts, spaced, held_out, shared, own))
        if not near and stems.size > 1:
            known, least = _content(
                row, words, firsts, stems, numbers, most, held_out.content, found, met_stems, met_heads
            )
            least = max(least, held_out.least_content)
            if least <= known and least <= held_out.most_stems:
                near = _shares_enough(found[:known], int(np.ceil(least)), held_out, shared, candidates)
        out[row] = near


@kernel
def _met(words, heads, spaced, ngram, contained, marks, runs, shorts, shingles):
    """`_RUN` where a run of words is shared, else `_SHINGLE` where a shingle is, else 0.

    A run that is looked for begins with a known shingle, unless it is shorter than one.
    """
    met = 0
    for start in range(max(words.size, 1)):
        length = _shingle(heads, start, spaced)
        value = run_hash(words, start, length) if length >= 0 else np.uint64(0)
        if length >= 0 and _marked(marks, value) and _place(shingles, value) >= 0:
            met = _SHINGLE
        elif ngram >= 3:
            continue
        length = _span(heads, start, ngram, spaced)
        if length >= 0 and _place(runs, run_hash(words, start, length)) >= 0:
            return _RUN
        length = _span(heads, start, contained, spaced)
        if length >= 0 and _place(shorts, run_hash(words, start, length)) >= 0:
            return _RUN
    return met


@kernel
def _near_by_shingles(words, heads, spaced, held_out, shared, own):
    """Whether a held-out prompt is the same, near by Jaccard, or stands in the row diluted: by the very counts."""
    total = 0
    for start in range(max(words.size, 1)):
        length = _shingle(heads, start, spaced)
        if length >= 0:
            own[total] = run_hash(words, start, length)
            total += 1
    own[:total].sort()
    places, numbers, starts, prompts = held_out.shingles
    distinct, found = 0, False
    for turn in range(2):  # count, then judge and set back
        for at in range(total):
            if at and own[at] == own[at - 1]:
                continue
            distinct += turn == 0
            place = _place(places, own[at])
            if place < 0:
                continue
            for number in prompts[starts[numbers[place]] : starts[numbers[place] + 1]]:
                if turn == 0:
                    shared[number] += 1
                    continue
                both, its = shared[number], held_out.shingle_counts[number]
                shared[number] = 0
                near = both / (distinct + its - both)
                diluted = held_out.long[number] and both >= held_out.dilution * its
                found = found or (both > 0 and (near == 1.0 or near >= held_out.threshold or diluted))
    return found


@kernel
def _content(row, words, heads, places, numbers, most, share, found, met_stems, met_heads):
    """How many known stems are among the content words, `found` having them, and how many have to be shared at least.

    The table knows every form of every held-out stem, so known stems are told exactly, and unknown words are of others;
    words that carry no matter have a number below 0 there. Words of one stem begin with the same three bytes, so those
    are of at least as many stems as such beginnings, of which some may be taken for one. More than `most` stems are more
    than any held-out prompt could share enough of. `met_stems` and `met_heads` hold the last row that each was met in.
    """
    known = strange = 0
    for at in range(words.size):
        place = _place(places, words[at])
        if place < 0:
            own = (np.uint64(heads[at]) * _STEP) >> _52
            strange += met_heads[own] != row
            met_heads[own] = row
        elif numbers[place] >= 0:
            number = numbers[place]
            found[known] = number
            known += met_stems[number] != row
            met_stems[number] = row
        if known + strange > most:
            return 0, 1.0
    return known, share * (known + strange)


@kernel
def _shares_enough(found, least, held_out, shared, candidates):
    """Whether a held-out prompt may hold `least` of the stems `found`, and enough for its own size.

    Such a prompt holds at least one of the rarest: of any n stems out of which it lacks fewer than n.
    """
    starts, prompts, sizes = held_out.stems.starts, held_out.stems.prompts, held_out.stem_counts
    for at in range(1, found.size):  # rarest first
        stem, before = found[at], at
        while before > 0 and _holders(starts, found[before - 1]) > _holders(starts, stem):
            found[before] = found[before - 1]
            before -= 1
        found[before] = stem
    rare, count, enough = found.size - least + 1, 0, False
    for stem in found[:rare]:
        for place in range(starts[stem], starts[stem + 1]):
            number = prompts[place]
            if least <= sizes[number] and held_out.content * sizes[number] <= found.size:
                if shared[number] == 0:
                    candidates[count] = number
                    count += 1
                shared[number] += 1
    for number in candidates[:count]:
        both = shared[number]
        shared[number] = 0
        for stem in found[rare:]:
            own = prompts[starts[stem] : starts[stem + 1]]
            at = np.searchsorted(own, number)
            both += at < own.size and own[at] == number
        enough = enough or (both >= least and both >= held_out.content * sizes[number])
    return enough


@kernel
def _holders(starts, stem):
    """How many held-out prompts hold a stem."""
    return starts[stem + 1] - starts[stem]
