"""Words, normal forms and word shingles: how texts are compared and counted.

These functions are the truth; `kernels` has forms of them for many rows, which give the same.
"""

import re
import unicodedata
from collections.abc import Sequence

# Scripts that are written without spaces count by character, as word lists for them would be a dependency.
UNSPACED = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_UNSPACED = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+(?:['\u2019-](?:(?![{_UNSPACED}])\w)+)*")


def _ranges(kind: str) -> str:
    """The characters of a general category, as the inside of a character class; beyond U+20000 there are but tags."""
    codes = [code for code in (*range(0xA0, 0x20000), *range(0xE0000, 0xE0200)) if _category(code).startswith(kind)]
    firsts = [code for code, before in zip(codes, [-1, *codes], strict=False) if code != before + 1]
    lasts = [code for code, after in zip(codes, [*codes[1:], -1], strict=True) if code + 1 != after]
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(firsts, lasts, strict=True))


def _category(code: int) -> str:
    return unicodedata.category(chr(code))


# Vowel signs, viramas, tones and accents belong to the word of the letter before them.
_MARKS = _ranges("M")

# Soft hyphens, joiners, signs of direction, variation selectors, fillers: what nobody sees tells no text from another.
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef"
_INVISIBLE = re.compile(rf"\xad[ \t\r]*\n[ \t\r]*|[{_ranges('Cf')}{_FILLERS}]+")

# A word that a hyphen breaks at the end of a line.
_BROKEN = re.compile(rf"(?:(?<=[^\W\d_])|(?<=[{_MARKS}]))-[ \t\r]*\n[ \t\r]*(?=[^\W\d_])")

# Operators and signs carry the meaning of "3-4", "3*4", "-3" and "C#"; other punctuation carries none.
_TOKEN = re.compile(
    rf"(?P<number>\d+\.\d+)|(?P<sharp>(?<=[\w{_MARKS}])\#)|(?P<operator>(?<=[\w){_MARKS}])\s*[-*/%^]\s*(?=\d))"
    rf"|(?P<sign>(?<!\S)-(?=\d))|(?P<word>[{_UNSPACED}][{_MARKS}]*|[^\W_{_UNSPACED}]+(?:[{_MARKS}]+[^\W_{_UNSPACED}]*)*)"
    rf"|(?P<other>[^\w\s])"
)
_IS = re.compile(r"\b(what|who|where|when|how|why|that|there|here|it)'s\b")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc`", "'"))

# 's is short for "is" or "us" after these words only; elsewhere it mostly says whose.
_CONTRACTION = re.compile(
    r"(?<=[a-z])'(?:re|ve|ll|d|m)\b|(?<=[a-z]n)'t\b"
    r"|\b(?:what|who|where|when|how|why|that|there|here|it|he|she|let)'s\b"
)

Shingle = tuple[str, ...]


class _WithoutMarks(dict[int, int | None]):
    """For `str.translate`: takes out combining marks, which belong to the letters before them."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code)).startswith("M") else code
        return self[code]


_WITHOUT_MARKS = _WithoutMarks()


def count_words(text: str) -> int:
    """Number of words: runs of letters, with their marks, and digits in any script.

    "don't" and "load-bearing" are one word each. Thai and its like, written without spaces, count by the spaces there.
    """
    return len(_WORD.findall(text if text.isascii() else text.translate(_WITHOUT_MARKS)))


def count_contractions(text: str) -> int:
    """Number of English contractions: don't, we're, I'd, it's, let's; not "the plan's end"."""
    return len(_CONTRACTION.findall(text.casefold().translate(_APOSTROPHES)))


def tokens(text: str) -> list[str]:
    """Comparable words of `text`: NFKC, case folded, punctuation out, symbols and operators kept.

    Characters that nobody sees are out, and words broken by a hyphen at a line's end are whole.
    """
    seen = text if text.isascii() else _INVISIBLE.sub("", text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    folded = _IS.sub(r"\1 is", folded.translate(_APOSTROPHES))
    folded = (_BROKEN.sub("", folded) if "\n" in folded else folded).replace("'", "")
    return [token for match in _TOKEN.finditer(folded) if (token := _token(match))]


def _token(match: re.Match[str]) -> str:
    text = match.group().strip()
    if match.lastgroup == "other" and unicodedata.category(text).startswith("P"):
        return ""
    return text


def is_unspaced(word: str) -> bool:
    """Whether a token is a character of a script without spaces, of which about two make a word."""
    return any(first <= ord(word[0]) <= last for first, last in UNSPACED)


def words(text: str) -> list[str]:
    """The tokens of `text`; of one without any, of signs alone, what stands between spaces."""
    return tokens(text) or _INVISIBLE.sub("", text).split()


def normal_form(text: str) -> str:
    """One text for all spellings that differ in case, punctuation and spacing; empty for an empty text only."""
    return " ".join(words(text))


def repeated_share(text: str, size: int) -> float:
    """Share of the runs of `size` words that stood in the text before, 0 to 1; 0 for a shorter text."""
    own = words(text)
    count = len(own) - size + 1
    return (count - len(runs(own, size))) / count if count > 0 else 0.0


def runs(listed: Sequence[str], size: int) -> set[Shingle]:
    """All runs of `size` neighbouring words; none when there are fewer words."""
    return {tuple(listed[start : start + size]) for start in range(len(listed) - size + 1)}


def shingles(text: str, size: int = 3) -> frozenset[Shingle]:
    """Word shingles of the normal form; a shorter text is one shingle, so that it still equals itself."""
    own = words(text)
    return frozenset(runs(own, min(size, len(own))))


def jaccard(first: frozenset, second: frozenset) -> float:
    """Size of the intersection over size of the union, 0 to 1; 0 for two empty sets."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0
