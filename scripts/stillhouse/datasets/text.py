"""Words, normal forms and word shingles: how prompts are compared and lengths are counted."""

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

Shingle = tuple[str, ...]


def count_words(text: str) -> int:
    """Number of words: runs of letters and digits in any script, "don't" and "load-bearing" being one."""
    return len(_WORD.findall(text))


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


def normal_form(text: str) -> str:
    """One text for all spellings that differ in case, punctuation and spacing; never empty for a non-empty text."""
    return " ".join(tokens(text)) or text.strip()


def runs(words: Sequence[str], size: int) -> set[Shingle]:
    """All runs of `size` neighbouring words; none when there are fewer words."""
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def shingles(text: str, size: int = 3) -> frozenset[Shingle]:
    """Word shingles of the normal form; a shorter text is one shingle, so that it still equals itself."""
    words = normal_form(text).split()
    return frozenset(runs(words, min(size, len(words))))


def jaccard(first: frozenset, second: frozenset) -> float:
    """Size of the intersection over size of the union, 0 to 1; 0 for two empty sets."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0
