"""Words in every script: letters with the marks that belong to them; scripts without spaces go by character.

Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan are written without spaces between words. Word lists for them
would be a dependency, so that their characters are counted one by one, and searched two by two.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

_JOINERS = "\u200c\u200d"
_BLOCKS = ((0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF))
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"


def _ranges(points: Iterable[int], kind: str) -> str:
    """The characters of a general category, as the inside of a character class."""
    runs: list[list[int]] = []
    for point in points:
        if unicodedata.category(chr(point)).startswith(kind):
            if runs and runs[-1][1] == point - 1:
                runs[-1][1] = point
            else:
                runs.append([point, point])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in runs)


_MARKS = _ranges([*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)], "M") + _JOINERS
_UNSPACED = _ranges((point for first, last in _BLOCKS for point in range(first, last + 1)), "L") + "\u3007" + _HAN

_WORD = re.compile(rf"[^\W_]+(?:[{_MARKS}]+[^\W_]*)*")
_NAME = re.compile(rf"\w+(?:[{_MARKS}]+\w*)*")
_PIECE = re.compile(rf"(?P<run>(?:[{_UNSPACED}][{_MARKS}]*)+)|(?:(?![{_UNSPACED}]).)+", re.DOTALL)
_SIGN = re.compile(rf"[{_UNSPACED}][{_MARKS}]*")
_UNIT = re.compile(rf"[^\w\s]*[{_UNSPACED}][^\w\s]*|(?:(?![{_UNSPACED}])\S)+")


def words_of(text: str) -> list[str]:
    """Runs of letters and digits with their combining marks, which anything else sets apart."""
    return _WORD.findall(text)


def units_of(text: str) -> list[tuple[int, int]]:
    """Where the words of `text` begin and end: what stands between spaces, or one character of a script without them.

    Punctuation belongs to the character that it stands at.
    """
    return [found.span() for found in _UNIT.finditer(text)]


def count_units(text: str) -> int:
    """Number of words as `units_of` has them."""
    return sum(1 for _ in _UNIT.finditer(text))


def search_terms(text: str) -> list[str]:
    """What a text is searched by: words in one case; of scripts without spaces every two neighbouring characters."""
    names = _NAME.findall(unicodedata.normalize("NFKC", text).casefold())
    return [term for name in names for term in _terms(name)]


def _terms(name: str) -> list[str]:
    if name.isascii():
        return [name]
    terms: list[str] = []
    for piece in _PIECE.finditer(name):
        signs = _SIGN.findall(name, *piece.span()) if piece["run"] else []
        terms += [one + two for one, two in pairwise(signs)] or [piece.group()]
    return terms
