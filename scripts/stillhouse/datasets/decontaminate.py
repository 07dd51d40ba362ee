"""Keeps held-out prompts out of the training rows.

Four tests, the strongest that hits is told: `identical` normal form; a shared run of words (`ngram`); Jaccard
of 3-word `shingles`; Jaccard of `content` words. The last is for short everyday prompts, where a changed
opening ("What's ..." for "Tell me ...") leaves few shingles in common and no long run.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from stillhouse.datasets.rows import Prompt, Row
from stillhouse.datasets.text import normal_form, runs, shingles
from stillhouse.study.datasets import Decontaminate

# A held-out prompt shorter than the n-gram still counts as shared when the row holds all of it.
MIN_CONTAINED_WORDS = 4
# Two shared content words are a topic ("capital", "france"), three are nearly always a question.
MIN_CONTENT_WORDS = 3

# Words that say how to answer or hold a sentence together, not what is asked.
_FRAME_WORDS = (
    "a about an and are as at be been by can could did do does for from had has have how i if in into is it its me "
    "my of on or our shall should so some that the their them there these they this those to us was we were what "
    "when where which who whose why will with would you your yourself "
    "answer brief briefly compose define describe draft explain generate give guide help instructions let list name "
    "outline paragraph please provide quick say sentence sentences short show simple step steps suggest summarise "
    "summarize tell through walk write"
)
_FRAME = frozenset(_FRAME_WORDS.split())
_VOWELS = frozenset("aeiouy")


@dataclass(frozen=True)
class Hit:
    """A dropped row, the held-out prompt that it is too near to, by which test and how near (0 to 1)."""

    row: Row
    held_out: Prompt
    test: str
    similarity: float


def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry the matter of `text`, in any order."""
    return frozenset(_stem(word) for word in normal_form(text).split() if word not in _FRAME)


def _stem(word: str) -> str:
    """A light English stem: brewing, brewed and brews meet; words of other languages mostly stay as they are."""
    for ending, least in (("ies", 3), ("ing", 3), ("ed", 3), ("es", 3), ("s", 3)):
        stem = word[: -len(ending)]
        if word.endswith(ending) and not word.endswith("ss") and len(stem) >= least and _VOWELS & set(stem):
            return _undoubled(stem + "y" if ending == "ies" else stem)
    return _undoubled(word)


def _undoubled(stem: str) -> str:
    """planning, plan and plans; make and making."""
    if len(stem) > 3 and stem.endswith("e"):
        return stem[:-1]
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in _VOWELS else stem


class _Features:
    """What is compared of one text: sets of word runs, of shingles and of content words."""

    def __init__(self, text: str, ngram: int) -> None:
        self.normal = normal_form(text)
        self.words = self.normal.split()
        self.sets: tuple[frozenset, frozenset, frozenset] = (
            frozenset(runs(self.words, ngram)),
            shingles(text),
            content_words(text),
        )


class HeldOut:
    """Held-out prompts, indexed by what a row could share with them."""

    def __init__(self, prompts: list[Prompt], settings: Decontaminate) -> None:
        self.settings = settings
        self._prompts = prompts
        self._features = [_Features(prompt.text, settings.ngram) for prompt in prompts]
        self._indexes: tuple[dict[object, list[int]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))
        for number, features in enumerate(self._features):
            for index, values in zip(self._indexes, features.sets, strict=True):
                for value in values:
                    index[value].append(number)

    def hit(self, row: Row) -> Hit | None:
        """The nearest held-out prompt when it is too near, else None. Every user turn of the row counts."""
        found = (one for text in row.prompt.turns for one in self._near(_Features(text, self.settings.ngram)))
        strength, similarity, number = max(found, default=(0, 0.0, 0))
        return Hit(row, self._prompts[-number], _TESTS[strength], round(similarity, 4)) if strength else None

    def _near(self, row: _Features) -> Iterator[tuple[int, float, int]]:
        """Strength of the test, similarity and number of every held-out prompt that is hit; the number is negated,
        so that the largest hit is the strongest, nearest and first."""
        in_runs, in_shingles, in_content = (
            Counter(chain.from_iterable(index.get(value, ()) for value in values))
            for index, values in zip(self._indexes, row.sets, strict=True)
        )
        for number, shared in in_shingles.items():
            held_out = self._features[number]
            near = shared / (len(row.sets[1]) + len(held_out.sets[1]) - shared)
            if row.normal == held_out.normal:
                yield _IDENTICAL, 1.0, -number
            elif number in in_runs or self._contains(row, held_out):
                yield _NGRAM, near, -number
            elif near >= self.settings.threshold:
                yield _SHINGLES, near, -number
        for number, shared in in_content.items():
            near = shared / (len(row.sets[2]) + len(self._features[number].sets[2]) - shared)
            if shared >= MIN_CONTENT_WORDS and near >= self.settings.content:
                yield _CONTENT, near, -number
        for number in in_runs.keys() - in_shingles.keys():  # only runs of two words share no shingle
            yield _NGRAM, 0.0, -number

    def _contains(self, row: _Features, held_out: _Features) -> bool:
        """Whether the row holds the whole of a held-out prompt that is too short for an n-gram."""
        short = MIN_CONTAINED_WORDS <= len(held_out.words) < self.settings.ngram
        return short and f" {held_out.normal} " in f" {row.normal} "


_CONTENT, _SHINGLES, _NGRAM, _IDENTICAL = 1, 2, 3, 4
_TESTS = {_CONTENT: "content", _SHINGLES: "shingles", _NGRAM: "ngram", _IDENTICAL: "identical"}


def decontaminate(rows: list[Row], held_out: list[Prompt], settings: Decontaminate) -> tuple[list[Row], list[Hit]]:
    """Rows that stay, in their order, and the hits of those that go."""
    index = HeldOut(held_out, settings)
    hits = [index.hit(row) for row in rows]
    kept = [row for row, hit in zip(rows, hits, strict=True) if hit is None]
    return kept, [hit for hit in hits if hit is not None]
