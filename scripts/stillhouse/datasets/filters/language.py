"""The language of an answer, told offline by py3langid (Barbaresi's fork of langid.py, Lui and Baldwin 2012).

Chosen among six detectors on 111 sentences of 3 to 8 words in 16 languages and 1,044 English texts: at the
threshold below it made no mistake on either. Its wheel has 4.6 MB (lingua: 96 MB, 1.1 GB of memory, a tenth
of the speed) and needs numpy alone.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from stillhouse.datasets.filters.base import Answer, answer_of, written
from stillhouse.errors import InputError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST = 0.1
"""Probability from which a text may be of the wanted languages: short texts of near relatives are told apart badly."""

FEWEST_LETTERS, FEWEST_WORDS = 40, 5
"""With fewer, a text in Latin letters has no language that could be told: names, terms, commands. It stays.

Words that begin with a capital are not counted: a list of names has a language as little as one name.
"""
FEWEST_OTHER_LETTERS = 12
"""The same for a text most of whose letters are of other scripts, which tell more."""

_LOOKED_AT, _CHARACTERS = 20_000, 600
"""Characters of an answer in which prose is looked for, and of that prose those by which its language is told."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u9fff\uf900-\ufaff\uff00-\uffef"
"""Thai, Lao, Burmese, Khmer, Chinese and Japanese with their punctuation: what links and formulae do not hold."""
_NO_PROSE = re.compile(
    rf"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*+`|https?://[^\s{_UNSPACED}]+"  # code, links
    r"|\$\$.{1,1000}?\$\$|\\\[.{1,1000}?\\\]|\\\(.{1,200}?\\\)"  # formulae
    rf"|\$[^$\s][^$\n{_UNSPACED}]{{0,200}}(?<!\s)\$"  # and not what stands between two prices
    r"|(?:\A|(?<=\n\n))(?:(?: {4}|\t)(?![ \t]*(?:[-*+\u2022]|\d+[.)])[ \t])[^\n]*+(?:\n+|\Z))++",  # indented code
    re.DOTALL,
)
_BETWEEN_SPACES = re.compile(r"\s*\S+")
# commands, paths, names of variables, numbers with units: each sign is looked for by itself, so that it takes one pass
_NO_WORD = re.compile(r"\A\s*-\S|[/\\=<>{}$@^&%~0-9]|\w_\w|\w[(\[]|\w\.\w")
_LATIN_LETTERS = "A-Za-z\u00aa-\u024f\u1e00-\u1eff"
_LATIN = re.compile(f"[{_LATIN_LETTERS}]")
_OTHER = re.compile(rf"[^\W\d_{_LATIN_LETTERS}][^\x00-\x7f]{{0,3}}[^\W\d_{_LATIN_LETTERS}]")
"""Two letters of another script, and not more than their marks between them; one is a sign of a formula."""
_ASCII_RUN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class InLanguage:
    """Keeps answers that may be in one of the languages (ISO 639 codes); code, formulae and links are not looked at."""

    languages: tuple[str, ...]
    reason = "language"
    columns = ("answer",)

    @property
    def label(self) -> str:
        return f"language: {written(self.languages)}"

    def __post_init__(self) -> None:
        known = _identifier().labels
        for one in self.languages:
            if one not in known:
                raise InputError(f"filter language: {one!r} is not among those that can be told: {', '.join(known)}")

    def keep(self, row: Answer) -> bool:
        told = prose(answer_of(row))
        if not has_language(told):
            return True
        likely = dict(_identifier().rank(told))
        return sum(likely[one] for one in set(self.languages)) >= LEAST


def prose(text: str) -> str:
    """The first words of `text` that belong to a language, without code, commands, formulae and links."""
    told, characters = [], 0
    for match in _BETWEEN_SPACES.finditer(_NO_PROSE.sub(" ", text[:_LOOKED_AT])):
        told.append(_words(match.group()))
        characters += len(told[-1])
        if characters >= _CHARACTERS:
            break
    return "".join(told)[:_CHARACTERS]


def _words(between: str) -> str:
    """What of a run between spaces belongs to a language: all or nothing, as in Latin letters each is a word.

    Other scripts may be written without spaces, so that a run is a whole text: only its ASCII goes.
    """
    if not _NO_WORD.search(between):
        return between
    return _ASCII_RUN.sub(" ", between) if _OTHER.search(between) else " "


def has_language(told: str) -> bool:
    """Whether `told` is enough for its language to be told."""
    letters = sum(map(str.isalpha, told))
    latin = len(_LATIN.findall(told))
    if letters - latin > latin:
        return letters >= FEWEST_OTHER_LETTERS
    return letters >= FEWEST_LETTERS and sum(word[0].islower() for word in told.split()) >= FEWEST_WORDS


@lru_cache(maxsize=1)
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
