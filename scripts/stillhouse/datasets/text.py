"""Words, normal forms and word shingles: how texts are compared and counted.

These functions are the truth; `kernels` has forms of them for many rows, which give the same.
"""

import re
import unicodedata
from collections.abc import Sequence

# Scripts that are written without spaces count by character, as word lists for them would be a dependency.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+(?:['\u2019-](?:(?![{_UNSPACED}])\w)+)*")

# Operators and signs carry the meaning of "3-4", "3*4", "-3" and "C#"; other punctuation carries none.
_TOKEN = re.compile(
    rf"(?P<number>\d+\.\d+)|(?P<sharp>(?<=\w)\#)|(?P<operator>(?<=[\w)])\s*[-*/%^]\s*(?=\d))|(?P<sign>(?<!\S)-(?=\d))"
    rf"|(?P<word>[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+)|(?P<other>[^\w\s])"
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
    """Comparable words of `text`: NFKC, case folded, punctuation out, symbols and operators kept."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _IS.sub(r"\1 is", folded.translate(_APOSTROPHES)).replace("'", "")
    return [token for match in _TOKEN.finditer(folded) if (token := _token(match))]


def _token(match: re.Match[str]) -> str:
    text = match.group().strip()
    if match.lastgroup == "other" and unicodedata.category(text).startswith("P"):
        return ""
    return text


def words(text: str) -> list[str]:
    """The tokens of `text`; of one without any, of signs alone, what stands between spaces."""
    return tokens(text) or text.split()


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
