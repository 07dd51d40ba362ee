"""A kernel that cuts the text out of conversations of one user turn; `messages.parse_plain` calls it, nothing else.

A JSON reader would build an object for every message, which takes ten times as long.
"""

import numpy as np

from stillhouse.datasets.jit import kernel

BEFORE, BEHIND = b'[{"content":"', b'","role":"user"}]'
"""What stands around the text in canonical JSON."""
_BEFORE, _BEHIND = np.frombuffer(BEFORE, np.uint8), np.frombuffer(BEHIND, np.uint8)
_QUOTE, _BACKSLASH, _BLANK = (np.uint8(ord(char)) for char in '"\\ ')

_ESCAPED = np.zeros(256, np.uint8)
for _char, _meant in zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True):
    _ESCAPED[ord(_char)] = ord(_meant)
"""What a letter behind a backslash stands for; 0 for what is left to the JSON reader."""


@kernel
def single_turns(data, offsets, out, ends):
    """The texts of conversations that are one turn of the user, one behind the other in `out`; where each ends in `ends`.

    False where any conversation is something else, or is told by rarer escapes. `out` has room for all `data`.
    """
    size = 0
    for row in range(offsets.size - 1):
        low, high = offsets[row] + _BEFORE.size, offsets[row + 1] - _BEHIND.size
        if (
            low > high
            or not _same(data[offsets[row] : low], _BEFORE)
            or not _same(data[high : offsets[row + 1]], _BEHIND)
        ):
            return False
        length = _unescaped(data[low:high], out[size:])
        if length < 0:
            return False
        size += length
        ends[row] = size
    return True


@kernel
def _same(first, second):
    same = True
    for at in range(second.size):
        same &= first[at] == second[at]
    return same


@kernel
def _unescaped(text, out):
    """Length of the text that the inside of a JSON string stands for, -1 where it is none or holds a rarer escape."""
    odd = 0
    for at in range(text.size):  # nearly all texts are told as they are
        byte = text[at]
        odd += (byte == _QUOTE) | (byte == _BACKSLASH) | (byte < _BLANK)
        out[at] = byte
    if not odd:
        return text.size
    at = length = 0
    while at < text.size:
        byte = text[at]
        if byte == _BACKSLASH:
            at += 1
            byte = _ESCAPED[text[at]] if at < text.size else np.uint8(0)
            if byte == 0:
                return -1
        elif byte == _QUOTE or byte < _BLANK:
            return -1
        out[length] = byte
        length += 1
        at += 1
    return length
