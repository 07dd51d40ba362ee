"""Kernels over the UTF-8 bytes of many texts: counts and hashed words; `kernels` calls them, nothing else.

Each does for one text what a function of `text` does, and says so. A text goes through three steps: `_plain` (one byte
a character, lower case; gives up on texts with rarer characters), `_folded` (apostrophes out) and `_words` (hashes of
words). What is given up is left to Python. Scratch arrays are passed in, so that rows share them.
"""

import re
import unicodedata

import numpy as np

from stillhouse.datasets.compiled_runs import mix
from stillhouse.datasets.hashing import FNV_OFFSET, FNV_PRIME
from stillhouse.datasets.jit import kernel

_OFFSET, _PRIME = np.uint64(FNV_OFFSET), np.uint64(FNV_PRIME)
_16, _8 = np.uint32(16), np.uint32(8)
_A, _26, _32 = (np.uint8(number) for number in (ord("A"), 26, ord("a") - ord("A")))

LEFT_OUT = -1
"""Result of a kernel for a text that it leaves to the plain function."""

_SPACE, _LETTER, _DIGIT, _UNDERSCORE, _SYMBOL, _PUNCTUATION, _TAIL = range(7)
_COMMA, _DOT, _SHARP, _HYPHEN, _CLOSING = (ord(char) for char in ",.#-)")
_APOSTROPHE, _BACKTICK, _BLANK, _TAB, _RETURN, _LINE = (ord(char) for char in "'` \t\r\n")
_UNKNOWN = 255
_ARROWS, _PICTURES = 0xE2, 0xF0
"""First bytes of the characters from U+2000 and from U+1F000 on."""
_TAIL_BASE = 0x80
"""`_plain` tells a symbol in four bytes: its first one, and twelve bits of its code in three of `_TAIL`, five in each."""


def _class(byte: int) -> int:
    char = chr(byte)
    if byte in (_ARROWS, _PICTURES):
        return _SYMBOL
    if _TAIL_BASE <= byte < _TAIL_BASE + 32:  # the second byte of a small letter is larger
        return _TAIL
    if byte >= 128 or char.isalpha():  # bytes of letters beyond ASCII; others never come so far
        return _LETTER
    if char.isspace():
        return _SPACE
    if char.isdigit():
        return _DIGIT
    if char == "_":
        return _UNDERSCORE
    return _SYMBOL if char in "$+<=>^`|~" or not char.isprintable() else _PUNCTUATION


def _third_byte(byte: int) -> int:
    """What stands for the character E2 80 `byte`: typographic spaces, dashes, quotes, bullet and ellipsis."""
    code = 0x2000 + byte - 0x80
    if code <= 0x200A or code == 0x202F:
        return _BLANK
    if code in (0x2018, 0x2019):
        return _APOSTROPHE if code == 0x2019 else _BACKTICK
    dashes_and_quotes = 0x2010 <= code <= 0x2015 or 0x201A <= code <= 0x2022
    return _COMMA if dashes_and_quotes or code in (0x2026, 0x2039, 0x203A) else _UNKNOWN


def _is_symbol(code: int) -> bool:
    """Whether a character is a token of its own whatever stands beside it, and none of a word."""
    char = chr(code)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold())
    return folded == char and unicodedata.category(char)[0] == "S" and not re.match(r"[\w\s]", char)


_CLASSES = np.array([_class(byte) for byte in range(256)], np.uint8)
_IN_WORD = (_CLASSES >= _LETTER) & (_CLASSES <= _UNDERSCORE)
"""Whether the regular expression \\w takes the byte's character."""
_WORD, _JOIN = np.uint8(1), np.uint8(2)
_ROLES = np.array([_IN_WORD[byte] + 2 * (chr(byte) in "'-") for byte in range(256)], np.uint8)
"""What a byte is to the count of words: `_WORD` of one, `_JOIN` one that joins two."""
_ALNUM = (_CLASSES == _LETTER) | (_CLASSES == _DIGIT)
_OPERATOR = np.array([chr(byte) in "-*/%^" for byte in range(256)], np.bool_)
_TELLS_NOTHING = (_CLASSES == _PUNCTUATION) & ~_OPERATOR & (np.arange(256) != _SHARP)
"""Punctuation that begins no token, whatever stands beside it."""
_GENERAL_PUNCTUATION = np.array(
    [_third_byte(byte) if 0x80 <= byte < 0xC0 else _UNKNOWN for byte in range(256)], np.uint8
)

_SYMBOLS = np.array([[_is_symbol(first + code) for code in range(4096)] for first in (0x2000, 0x1F000)], np.bool_)
"""Arrows, signs of mathematics, boxes, check marks; emoji: by their twelve last bits."""

# The words of `text._IS` come first; `text._CONTRACTION` knows he, she and let besides.
_SHORTENED = b"what who where when how why that there here it he she let"
_IS_WORDS = 10
_BEFORE_S = np.array([int.from_bytes(word, "big") for word in _SHORTENED.split()], np.uint64)


@kernel
def _lower(text, out):
    """ASCII into lower case; a loop without a branch, of which the compiler makes vector instructions."""
    for at in range(text.size):
        byte = text[at]
        out[at] = byte + _32 if np.uint8(byte - _A) < _26 else byte


@kernel
def _plain(data, low, high, out):
    """Length of the text in `out`: lower case, Latin-1 letters as two bytes, typographic signs as ASCII ones.

    Symbols take four bytes (`_TAIL_BASE`); the joiners and variation selectors behind them, which no word has, none.
    """
    size, at = 0, low
    while at < high:
        end = at
        while end < high and data[end] < 0x80:
            end += 1
        if end > at:
            _lower(data[at:end], out[size:])
            at, size = end, size + end - at
            continue
        byte = data[at]
        if byte == 0xC3 and data[at + 1] != 0x97 and data[at + 1] != 0xB7:
            at += 1
            if data[at] == 0x9F:  # sharp s
                out[size] = out[size + 1] = ord("s")
            else:
                out[size] = byte
                out[size + 1] = data[at] + 0x20 if data[at] < 0x9F else data[at]
            size += 1
        elif byte == 0xE2 and data[at + 1] == 0x80 and _GENERAL_PUNCTUATION[data[at + 2]] != _UNKNOWN:
            out[size] = _GENERAL_PUNCTUATION[data[at + 2]]
            at += 2
        elif byte == 0xC2 and data[at + 1] == 0xA0:  # no-break space
            out[size] = _BLANK
            at += 1
        elif _CLASSES[byte] == _SYMBOL and _symbol_code(data, at) >= 0:
            code = _symbol_code(data, at)
            out[size] = byte
            for place in range(1, 4):
                out[size + place] = _TAIL_BASE + ((code >> (5 * (3 - place))) & 31)
            size += 3
            at += 2 + (byte == _PICTURES)
        elif size and _CLASSES[out[size - 1]] == _TAIL and _unseen(data, at):
            size -= 1
            at += 2
        else:
            return LEFT_OUT
        size += 1
        at += 1
    return size


@kernel
def _symbol_code(data, at):
    """The last twelve bits of the symbol at `at`; -1 for another character."""
    wide = data[at] == _PICTURES
    if wide and data[at + 1] != 0x9F:
        return -1
    code = (np.int64(data[at + 1 + wide] & 63) << 6) | np.int64(data[at + 2 + wide] & 63)
    return code if _SYMBOLS[np.int64(wide), code] else -1


@kernel
def _unseen(data, at):
    """Whether a zero-width joiner or the selector of coloured symbols stands at `at`."""
    joiner = data[at] == 0xE2 and data[at + 1] == 0x80 and data[at + 2] == 0x8D
    return joiner or (data[at] == 0xEF and data[at + 1] == 0xB8 and data[at + 2] == 0x8F)


@kernel
def _shortens(text, size, at, words):
    """Whether the apostrophe at `at` begins 's after one of the first `words` words of `_SHORTENED`."""
    if at + 1 >= size or text[at + 1] != ord("s") or (at + 2 < size and _IN_WORD[text[at + 2]]):
        return False
    start, packed = at, np.uint64(0)
    while start > 0 and _IN_WORD[text[start - 1]]:
        start -= 1
        if at - start > 5:
            return False
    for place in range(start, at):
        packed = (packed << np.uint64(8)) | np.uint64(text[place])
    found = False
    for number in range(words):
        found |= packed == _BEFORE_S[number]
    return found


@kernel
def _break_end(text, size, at):
    """Where a word goes on that a hyphen before `at` breaks at a line's end; 0 where none does."""
    lines = 0
    while at < size and (text[at] == _BLANK or text[at] == _TAB or text[at] == _RETURN or text[at] == _LINE):
        lines += text[at] == _LINE
        at += 1
    return at if lines == 1 and at < size and _CLASSES[text[at]] == _LETTER else 0


@kernel
def _folded(text, size, out):
    """Length of `text` in `out`: no apostrophes, "it's" spelt out, broken words whole; as `text.tokens` folds."""
    length = after = 0
    for at in range(size):
        byte = text[at]
        if at < after:
            continue
        if byte == _HYPHEN and at and _CLASSES[text[at - 1]] == _LETTER:
            after = _break_end(text, size, at + 1)
            if after:
                continue
        if byte != _APOSTROPHE and byte != _BACKTICK:
            out[length] = byte
            length += 1
        elif _shortens(text, size, at, _IS_WORDS):
            out[length] = _BLANK
            out[length + 1] = ord("i")
            length += 2
    return length


@kernel
def _operand_end(text, size, at):
    """Where the digit stands that an operator beginning at `at` is followed by; 0 where none is."""
    while at < size and _CLASSES[text[at]] == _SPACE:
        at += 1
    if at == size or not _OPERATOR[text[at]]:
        return 0
    at += 1
    while at < size and _CLASSES[text[at]] == _SPACE:
        at += 1
    return at if at < size and _CLASSES[text[at]] == _DIGIT else 0


@kernel
def _decimal_end(text, size, at):
    """Where the number 12.5 that begins at `at` ends; 0 where none begins."""
    while at < size and _CLASSES[text[at]] == _DIGIT:
        at += 1
    if at + 1 >= size or text[at] != _DOT or _CLASSES[text[at + 1]] != _DIGIT:
        return 0
    at += 1
    while at < size and _CLASSES[text[at]] == _DIGIT:
        at += 1
    return at


@kernel
def _sign(text, size, at):
    """The token that begins at a sign or space at `at`, if any: its bounds (equal: none), and where to read on."""
    byte, kind = text[at], _CLASSES[text[at]]
    after_word = at > 0 and _IN_WORD[text[at - 1]]
    if (after_word or (at > 0 and text[at - 1] == _CLOSING)) and (kind == _SPACE or _OPERATOR[byte]):
        operand = _operand_end(text, size, at)
        if operand:
            while _CLASSES[text[at]] == _SPACE:
                at += 1
            return at, at + 1, operand
    if byte == _HYPHEN:
        begins = at == 0 or _CLASSES[text[at - 1]] == _SPACE
        taken = begins and at + 1 < size and _CLASSES[text[at + 1]] == _DIGIT
    else:
        taken = kind == _SYMBOL or (byte == _SHARP and after_word)
    return at, at + taken, at + 1


@kernel
def _symbol(text, at):
    """Hash and head of the symbol that `_plain` told at `at`: those of its bytes in UTF-8."""
    code = 0
    for place in range(at + 1, at + 4):
        code = (code << 5) | np.int64(text[place] - _TAIL_BASE)
    wide, last = text[at] == _PICTURES, (np.uint32(0x80 | (code >> 6)), np.uint32(0x80 | (code & 63)))
    value, head = (_OFFSET ^ np.uint64(text[at])) * _PRIME, np.uint32(text[at]) << _8
    if wide:
        value = (value ^ np.uint64(0x9F)) * _PRIME
        head = (head | np.uint32(0x9F)) << _8
    for byte in last:
        value = (value ^ np.uint64(byte)) * _PRIME
    head = head | last[0] if wide else ((head | last[0]) << _8) | last[1]
    return mix(value), head


@kernel
def _words(text, size, hashes, heads, count):
    """`text.tokens`: writes the words' hashes, and their first three bytes as numbers, from place `count` on.

    Returns the place behind the last of them.
    """
    at = 0
    while at < size:
        kind, first, end = _CLASSES[text[at]], at, 0
        everyday = kind == _SPACE and at + 1 < size and _CLASSES[text[at + 1]] == _LETTER
        if everyday or _TELLS_NOTHING[text[at]]:
            at += 1
            continue
        if kind == _SYMBOL and text[at] >= _ARROWS:
            hashes[count], heads[count] = _symbol(text, at)
            count, at = count + 1, at + 4
            continue
        if kind == _DIGIT:
            end = _decimal_end(text, size, at)
        elif kind != _LETTER:
            first, end, after = _sign(text, size, at)
            if end == first:
                at = after
                continue
        value, at = _OFFSET, first
        while at < end or (end == 0 and at < size and _ALNUM[text[at]]):
            value = (value ^ np.uint64(text[at])) * _PRIME
            at += 1
        head = (np.uint32(text[first]) << _16) | (np.uint32(text[first + 1]) << _8) | np.uint32(text[first + 2])
        heads[count] = head >> np.uint32(8 * max(3 - (at - first), 0))
        hashes[count] = mix(value)
        count += 1
        if kind != _LETTER and kind != _DIGIT:
            at = after
    return count


@kernel
def _longest(offsets):
    longest = 0
    for row in range(offsets.size - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@kernel
def tokens(data, offsets, words, contractions):
    """The words of every text, one text's after the other's: hashes (`hashing.word_hash`) and heads.

    Also where each text's words begin, and how many they are. A text that is left out has none, as has one of signs
    alone, whose words are its own. `words` and `contractions` are filled as by `counts`.
    """
    rows = offsets.size - 1
    longest = _longest(offsets)
    plain, folded = np.empty(2 * longest + 3, np.uint8), np.empty(3 * longest + 3, np.uint8)
    roles = np.zeros(2 * longest + 5, np.uint8)
    hashes, heads = np.empty(data.size // 4 + 64, np.uint64), np.empty(data.size // 4 + 64, np.uint32)
    begins, counts = np.empty(rows, np.int64), np.zeros(rows, np.int64)
    count = 0
    for row in range(rows):
        begins[row] = count
        size = _plain(data, offsets[row], offsets[row + 1], plain)
        words[row], contractions[row], joins = _counted(plain, size, roles)
        if size <= 0:
            continue
        length = _folded(plain, size, folded) if joins else size
        if count + length > hashes.size:
            hashes = np.concatenate((hashes[:count], np.empty(count + length, np.uint64)))
            heads = np.concatenate((heads[:count], np.empty(count + length, np.uint32)))
        end = _words(folded if joins else plain, length, hashes, heads, count)
        counts[row] = end - count
        count = end
    return hashes[:count], heads[:count], begins, counts


@kernel
def counts(data, offsets, words, contractions):
    """`text.count_words` and `text.count_contractions` of every text."""
    longest = _longest(offsets)
    plain, roles = np.empty(2 * longest + 3, np.uint8), np.zeros(2 * longest + 5, np.uint8)
    for row in range(offsets.size - 1):
        size = _plain(data, offsets[row], offsets[row + 1], plain)
        words[row], contractions[row], _ = _counted(plain, size, roles)


@kernel
def _counted(text, size, roles):
    """Words and contractions of a plain text, `LEFT_OUT` for one of size `LEFT_OUT`; and signs that `_folded` may leave out.

    `roles` is scratch that begins with two zeros. The loops over all bytes have no branch that depends on one: where words
    begin cannot be foretold.
    """
    if size == LEFT_OUT:
        return LEFT_OUT, LEFT_OUT, 0
    quotes = hyphens = words = 0
    for at in range(size):
        byte = text[at]
        roles[at + 2] = _ROLES[byte]
        quotes += (byte == _APOSTROPHE) | (byte == _BACKTICK)
        hyphens += byte == _HYPHEN
    for at in range(size):
        # one apostrophe or hyphen right behind a word joins it with the next
        joined = (roles[at + 1] >> 1) & roles[at]
        words += roles[at + 2] & ~roles[at + 1] & ~joined & 1
    contractions, at, left = 0, 0, quotes
    while left:
        if text[at] == _APOSTROPHE or text[at] == _BACKTICK:
            left -= 1
            if at:
                contractions += _contracts(text, size, at)
        at += 1
    return words, contractions, quotes + hyphens


@kernel
def _contracts(text, size, at):
    """Whether the apostrophe at `at` is that of a contraction."""
    letter = ord("a") <= text[at - 1] <= ord("z")
    one = text[at + 1] if at + 1 < size else 0
    two = text[at + 2] if at + 2 < size else 0
    if not (at + 2 < size and _IN_WORD[two]):
        ends = one == ord("d") or one == ord("m")
        negates = one == ord("t") and text[at - 1] == ord("n") and at > 1 and ord("a") <= text[at - 2] <= ord("z")
        return (letter and ends) or negates or _shortens(text, size, at, _BEFORE_S.size)
    ends = (one == ord("r") and two == ord("e")) or (one == ord("v") and two == ord("e")) or (one == two == ord("l"))
    return letter and ends and not (at + 3 < size and _IN_WORD[text[at + 3]])
