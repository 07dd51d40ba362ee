"""Searching many texts at once: Arrow's RE2 where it means the same as Python's `re`, Python everywhere else.

The two agree on `neutral` texts (ASCII, with the dashes, quotes, arrows and signs of everyday English) and on patterns
of a plain subset of the syntax. Both are tested one by one: characters by `neutral`, patterns by `re2_form`.
"""

import re
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets.filters.base import Mask

# Dashes, quotes, arrows, signs, emoji: no letter, digit, space or case is among them, so that classes and folding
# mean the same in ASCII and Unicode.
_RANGES = (
    *((0x00, 0x7F), (0xA1, 0xA9), (0xAB, 0xAC), (0xAE, 0xB1), (0xB6, 0xB8), (0xBB, 0xBB), (0xBF, 0xBF), (0xD7, 0xD7)),
    *((0xF7, 0xF7), (0x2010, 0x2027), (0x2030, 0x205E), (0x20A0, 0x20BF), (0x2190, 0x23FF), (0x2500, 0x2775)),
    *((0x2794, 0x27BF), (0xFE0F, 0xFE0F), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF)),
)
_NOT_NEUTRAL = "[^" + "".join(f"\\x{{{low:X}}}-\\x{{{high:X}}}" for low, high in _RANGES) + "]"
_NEUTRAL_TEXT = re.compile("[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in _RANGES) + "]*")

_SPACES = "\\t-\\r\\x1c-\\x20"
_KNOWN_FLAGS = re.UNICODE | re.ASCII | re.IGNORECASE | re.MULTILINE | re.DOTALL
_FLAGS_IN_FRONT = re.compile(r"\(\?[aimsu]+\)")
_IN_CLASS = r"\\[dws]|\\[ntrfv]|\\x[0-7][0-9a-fA-F]|\\[!-/:-@\[-`{-~]|[ -Z^-~]"
_TOKEN = re.compile(
    r"(?P<space>\\[sS])"
    r"|(?P<end>\$)"
    rf"|(?P<set>\[\^?(?:{_IN_CLASS})+\])"
    r"|(?P<count>(?:[*+?]|\{\d{1,3}(?:,\d{0,3})?\})\??(?![*+?{]))"
    r"|(?P<group>\((?:\?:|\?P<\w+>|\?[is]+:|(?!\?))|\))"
    r"|(?P<same>\\[bdDwW]|\\[ntrfv]|\\x[0-7][0-9a-fA-F]|\\[!-/:-@\[-`{-~]|[\^.|]|[^\\\[\](){}.*+?|^$\x80-\U0010ffff])",
    re.ASCII,
)


def neutral(strings: pa.StringArray) -> Mask:
    """Which texts hold only characters on which RE2 and Python's `re` agree."""
    plain = as_mask(pc.string_is_ascii(strings))
    places = np.flatnonzero(~plain)
    if len(places):
        others = strings.take(pa.array(places))
        plain[places] = ~as_mask(pc.match_substring_regex(others, _NOT_NEUTRAL))
    return plain


def is_neutral(text: str) -> bool:
    """The same for one text."""
    return _NEUTRAL_TEXT.fullmatch(text) is not None


def re2_form(pattern: re.Pattern[str]) -> str | None:
    """A pattern for RE2 that finds something in a neutral text exactly where `pattern` does; None: there is none."""
    text = _FLAGS_IN_FRONT.sub("", pattern.pattern, count=1) if pattern.pattern.startswith("(?") else pattern.pattern
    if pattern.flags & ~_KNOWN_FLAGS:
        return None
    parts, place = [], 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        # without MULTILINE, Python's $ also matches before a last newline
        if token is None or (token.lastgroup == "end" and not pattern.flags & re.MULTILINE):
            return None
        parts.append(_translated(token))
        place = token.end()
    flags = "".join(
        letter for letter, flag in (("i", re.IGNORECASE), ("m", re.MULTILINE), ("s", re.DOTALL)) if pattern.flags & flag
    )
    form = f"(?{flags}:{''.join(parts)})"
    return form if _accepted(form) else None


def _translated(token: re.Match[str]) -> str:
    if token.lastgroup == "space":
        return f"[{_SPACES}]" if token.group() == "\\s" else f"[^{_SPACES}]"
    if token.lastgroup == "set":
        return re.sub(r"\\(.)", lambda pair: _SPACES if pair[1] == "s" else pair[0], token.group())
    return re.sub(r"^\(\?P<\w+>", "(", token.group())


def _accepted(form: str) -> bool:
    """Whether RE2 takes the pattern (it refuses, among others, very large counts)."""
    try:
        pc.match_substring_regex(pa.array([""]), form)
    except pa.ArrowInvalid:
        return False
    return True


def literal_form(lowered: str) -> str | None:
    """A pattern for RE2 that finds `lowered` in the lower case of a neutral text; None: no neutral text holds it."""
    if not is_neutral(lowered):
        return None
    escaped = "".join(one if one.isalnum() or ord(one) > 127 else f"\\x{ord(one):02x}" for one in lowered)
    return f"(?i:{escaped})"


def any_of(forms: Iterable[str | None]) -> str | None:
    """One pattern for all `forms`; None where one of them is None or RE2 takes them singly only."""
    given = list(forms)
    if None in given or not given:
        return None
    joined = "|".join(filter(None, given))
    return joined if _accepted(joined) else None


def search(strings: pa.StringArray, plain: Callable[[str], bool], form: str | None) -> Mask:
    """`plain` of every text, by RE2 where `form` tells the same."""
    if form is None:
        return by_text(strings, plain)
    found = as_mask(pc.match_substring_regex(strings, form))
    return recheck(found, strings, plain, ~neutral(strings))


def recheck(found: Mask, strings: pa.StringArray, plain: Callable[[str], bool], places: Mask) -> Mask:
    """`found`, with the rows at `places` decided by `plain`."""
    numbers = np.flatnonzero(places)
    if len(numbers):
        found[numbers] = [plain(text) for text in strings.take(pa.array(numbers)).to_pylist()]
    return found


def by_text(strings: pa.StringArray, plain: Callable[[str], bool]) -> Mask:
    """`plain` of every text."""
    return np.fromiter(map(plain, strings.to_pylist()), dtype=bool, count=len(strings))


def as_mask(array: pa.Array) -> Mask:
    """Truth values of Arrow (without nulls) as a numpy array that may be written to."""
    return array.to_numpy(zero_copy_only=False).astype(bool)
