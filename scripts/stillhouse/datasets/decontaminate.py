"""Keeps held-out prompts out of the training rows.

Five tests, the strongest that hits is told: `identical` normal form; a shared run of words (`ngram`); Jaccard of 3-word
`shingles`; `dilution`: most shingles of a longer held-out prompt stand in the row, with other words among them;
Jaccard of `content` words. The last is for short everyday prompts, where a changed opening ("What's ..." for
"Tell me ...") leaves few shingles in common and no long run. In Chinese and Japanese, where every character is a token,
two characters count as a word in all bounds that are told in words, shingles too.

`HeldOut.judge` is the truth for one text. Where there are many, a kernel first clears those that cannot be near to
any held-out prompt, by hashes of the same features.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain, groupby
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from stillhouse.datasets import kernels, leak_index
from stillhouse.datasets.hashing import SHINGLE, run_hashes, word_hash, word_hashes
from stillhouse.datasets.kernels import Tokens
from stillhouse.datasets.rows import Prompt
from stillhouse.datasets.text import Shingle, is_unspaced, runs, words
from stillhouse.study.datasets import Decontaminate

# A held-out prompt shorter than the n-gram still counts as shared when the row holds all of it.
MIN_CONTAINED_WORDS = 4
# Two shared content words are a topic ("capital", "france"), three are nearly always a question.
MIN_CONTENT_WORDS = 3
# A held-out prompt counts as diluted when it is so long and so much of it stands in the row.
MIN_DILUTED_WORDS = 8
DILUTION = 0.8

# Words that say how to answer or hold a sentence together, not what is asked.
_FRAME_WORDS = (
    "a about an and are as at be been by can could did do does for from had has have how i if in into is it its me "
    "my of on or our shall should so some that the their them there these they this those to us was we were what "
    "when where which who whose why will with would you your yourself "
    "answer brief briefly compose define describe draft explain generate give guide help instructions let list name "
    "outline paragraph please provide quick say sentence sentences short show simple step steps suggest summarise "
    "summarize tell through walk write"
)
# The same in Chinese, and the letters of Japanese grammar; a character of theirs tells as little as such a word.
_FRAME_CHARACTERS = (
    "的了是在有和与或也就不我你您他她它们这那哪里什么吗呢吧怎样为请用一个句话写说给把被让如何能可以会要出关于解释"
)
_HIRAGANA = map(chr, range(0x3041, 0x3097))
_FRAME = frozenset([*_FRAME_WORDS.split(), *_FRAME_CHARACTERS, *_HIRAGANA])
_VOWELS = frozenset("aeiouy")
_ENDINGS = ("ies", "ing", "ed", "es", "s")
LEAST_STEM = 3
"""Letters that are left of a word without its ending."""


class Hit(NamedTuple):
    """A row that is too near to a held-out prompt (its number), by which test and how near (0 to 1).

    For `dilution` the similarity is the share of the held-out prompt's shingles that stand in the row, for `content`
    the Jaccard similarity of content words, otherwise that of shingles.
    """

    row: int
    held_out: int
    test: str
    similarity: float


def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry the matter of `text`, in any order."""
    return _content_of(words(text))


def _content_of(words: Sequence[str]) -> frozenset[str]:
    return frozenset(_stem(word) for word in words if word not in _FRAME)


def _stem(word: str) -> str:
    """A light English stem: brewing, brewed and brews meet; words of other languages mostly stay as they are."""
    if word.endswith(_ENDINGS) and not word.endswith("ss"):
        for ending in _ENDINGS:
            stem = word.removesuffix(ending)
            if stem != word and len(stem) >= LEAST_STEM and not _VOWELS.isdisjoint(stem):
                return _undoubled(stem + "y" if ending == "ies" else stem)
    return _undoubled(word)


def _undoubled(stem: str) -> str:
    """planning, plan and plans; make and making."""
    if len(stem) > 3 and stem.endswith("e"):
        return stem[:-1]
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in _VOWELS else stem


def _halves(token: str) -> int:
    """What a token counts in halves of a word."""
    return 1 if not token.isascii() and is_unspaced(token) else 2


def _spans(listed: Sequence[str], size: int) -> set[Shingle]:
    """From every token on the fewest that count `size` words, where so many follow: `text.runs`, with its characters."""
    halves = [*map(_halves, listed)]
    if sum(halves) == 2 * len(halves):
        return runs(listed, size)
    sums = [0, *accumulate(halves)]
    ends = (bisect_left(sums, before + 2 * size) for before in sums[:-1])
    return {tuple(listed[start:end]) for start, end in enumerate(ends) if end < len(sums)}


def _first(listed: Sequence[str], size: int) -> Shingle:
    """The fewest tokens at the beginning that count `size` words; there have to be so many."""
    sums = [0, *accumulate(map(_halves, listed))]
    return tuple(listed[: bisect_left(sums, 2 * size)])


class _Features:
    """What is compared of one text: sets of word runs, of shingles and of content words."""

    def __init__(self, text: str, ngram: int) -> None:
        self.words = words(text)
        self.normal = " ".join(self.words)
        self.size = sum(map(_halves, self.words)) / 2
        self.runs = frozenset(_spans(self.words, ngram))
        self.shingles = frozenset(_spans(self.words, SHINGLE) or {tuple(self.words)})

    @cached_property
    def content(self) -> frozenset[str]:
        """Stems of the content words."""
        return _content_of(self.words)

    @property
    def long(self) -> bool:
        """Whether the prompt is long enough to be looked for in a diluted form."""
        return self.size >= MIN_DILUTED_WORDS

    def short(self, ngram: int) -> bool:
        """Whether the prompt is too short for an n-gram, but long enough to be looked for as a whole."""
        return MIN_CONTAINED_WORDS <= self.size < ngram


class HeldOut:
    """Held-out prompts, indexed by what a row could share with them.

    Args:
        prompts: the held-out prompts; hits name them by their place in this list, equally near ones by the first.
            Of a conversation every turn of the user is looked for too that has `MIN_CONTAINED_WORDS`.
        settings: the study's bounds; a bound that is null turns its test off.
    """

    def __init__(self, prompts: Sequence[Prompt], settings: Decontaminate) -> None:
        self.settings = settings
        self._features: list[_Features] = []
        self._prompts: list[int] = []
        for number, prompt in enumerate(prompts):
            whole, *turns = (_Features(text, settings.ngram) for text in prompt.turns)
            own = [whole, *(one for one in turns if one.size >= MIN_CONTAINED_WORDS)]
            self._features += own
            self._prompts += [number] * len(own)
        self._runs = _holders(one.runs for one in self._features)
        self._shingles = _holders(one.shingles for one in self._features)
        self._stems = _holders(one.content for one in self._features)
        self._stem_counts = np.array([len(one.content) for one in self._features], np.int64)
        self._lock = Lock()

    def hits(self, turns: pa.StringArray | Sequence[Sequence[str]], words: Tokens | None = None) -> list[Hit]:
        """Rows that are too near to a held-out prompt, in their order, each with the strongest and nearest hit.

        Args:
            turns: one text a row; or of every row all texts that count (the conversation and each user turn).
            words: those of the texts, where they are known and there is one text a row.
        """
        texts, rows = (turns, range(len(turns))) if isinstance(turns, pa.Array) else _flattened(turns)
        if not self._features:
            return []
        found: dict[int, tuple[int, float, int]] = {}
        for place in self._suspects(texts, words):
            judged = self.judge(texts[place].as_py())
            if judged is not None:
                found[rows[place]] = max(judged, found.get(rows[place], judged))
        return [
            Hit(row, self._prompts[-number], _TESTS[test], round(near, 4))
            for row, (test, near, number) in sorted(found.items())
        ]

    def _suspects(self, texts: pa.StringArray, words: Tokens | None) -> list[int]:
        if not kernels.worth(len(texts)):
            return list(range(len(texts)))
        with self._lock:  # made once, by the first thread that needs it
            index = self._index
        return kernels.suspects(words or kernels.tokens(texts), index).tolist()

    def judge(self, text: str) -> tuple[int, float, int] | None:
        """Strength of the test, similarity and negated number of the nearest held-out text, None when none is near.

        The number is negated, so that the largest of several is the strongest, nearest and first.
        """
        row = _Features(text, self.settings.ngram)
        # content is the weakest test: what words in their order find is stronger
        return max(self._near_by_order(row), default=None) or max(self._near_by_content(row), default=None)

    def _near_by_order(self, row: _Features) -> Iterator[tuple[int, float, int]]:
        in_runs = {number for run in row.runs for number in self._runs.get(run, ())}
        in_shingles = Counter(chain.from_iterable(self._shingles.get(one, ()) for one in row.shingles))
        for number, shared in in_shingles.items():
            held_out = self._features[number]
            near = shared / (len(row.shingles) + len(held_out.shingles) - shared)
            if row.normal == held_out.normal:
                yield _IDENTICAL, 1.0, -number
            elif number in in_runs or self._contains(row, held_out):
                yield _NGRAM, near, -number
            elif near >= _bound(self.settings.threshold):
                yield _SHINGLES, near, -number
            elif held_out.long and shared >= DILUTION * len(held_out.shingles):
                yield _DILUTION, shared / len(held_out.shingles), -number
        for number in in_runs - in_shingles.keys():  # only runs of two words share no shingle
            yield _NGRAM, 0.0, -number

    def _near_by_content(self, row: _Features) -> Iterator[tuple[int, float, int]]:
        stems = [stem for stem in row.content if stem in self._stems]
        found = [self._stems[stem] for stem in stems]
        numbers = np.array([*chain.from_iterable(found)], np.int64)
        shared = np.bincount(numbers, minlength=len(self._features))
        halves = np.repeat([*map(_halves, stems)], [*map(len, found)])
        enough = np.bincount(numbers, halves, len(self._features)) >= 2 * MIN_CONTENT_WORDS
        for number in np.flatnonzero(enough).tolist():
            both = int(shared[number])
            near = both / (len(row.content) + int(self._stem_counts[number]) - both)
            if near >= _bound(self.settings.content):
                yield _CONTENT, near, -number

    def _contains(self, row: _Features, held_out: _Features) -> bool:
        """Whether the row holds the whole of a held-out prompt that is too short for an n-gram."""
        return held_out.short(self.settings.ngram) and f" {held_out.normal} " in f" {row.normal} "

    @cached_property
    def _index(self) -> leak_index.Index:
        features, settings = self._features, self.settings
        # short prompts are looked for by their first words only: a superset of what holds all of them
        firsts = {_first(one.words, MIN_CONTAINED_WORDS) for one in features if one.short(settings.ngram)}
        stems = self._stems if settings.content is not None else {}
        shingles = _run_hashes(self._shingles)
        return leak_index.Index(
            ngram=settings.ngram,
            runs=leak_index.open_table(_run_hashes(self._runs)),
            contained=MIN_CONTAINED_WORDS,
            shorts=leak_index.open_table(_run_hashes(firsts)),
            shingles=leak_index.table(self._shingles, [[one] for one in shingles]),
            marks=leak_index.marks(shingles),
            shingle_counts=np.array([len(one.shingles) for one in features], np.int64),
            threshold=_bound(settings.threshold),
            long=np.array([one.long for one in features], np.bool_),
            dilution=DILUTION,
            stems=leak_index.table(
                stems, [map(word_hash, forms_of(stem)) for stem in stems], map(word_hash, _FRAME) if stems else ()
            ),
            stem_counts=self._stem_counts,
            most_stems=int(self._stem_counts.max(initial=0)),
            content=_bound(settings.content),
            least_content=MIN_CONTENT_WORDS,
        )


def _holders(sets: Iterable[frozenset]) -> dict[Any, list[int]]:
    """By each value the numbers of the sets that hold it."""
    found: dict[Any, list[int]] = defaultdict(list)
    for number, one in enumerate(sets):
        for value in one:
            found[value].append(number)
    return dict(found)


def _run_hashes(runs: Collection[Sequence[str]]) -> list[int]:
    """The hash of each run of words; runs of one length are hashed together."""
    found: dict[Sequence[str], int] = {}
    for size, same in groupby(sorted(runs, key=len), len):
        own = list(same)
        hashed = run_hashes(word_hashes([*chain.from_iterable(own)]), size)[:: max(size, 1)]
        found.update(zip(own, hashed.tolist(), strict=True))
    return [found[run] for run in runs]


_CONTENT, _DILUTION, _SHINGLES, _NGRAM, _IDENTICAL = 1, 2, 3, 4, 5
_TESTS = {
    _CONTENT: "content",
    _DILUTION: "dilution",
    _SHINGLES: "shingles",
    _NGRAM: "ngram",
    _IDENTICAL: "identical",
}


def _bound(setting: float | None) -> float:
    """A bound that no similarity reaches where the test is off."""
    return 2.0 if setting is None else setting


def _flattened(turns: Sequence[Sequence[str]]) -> tuple[pa.StringArray, list[int]]:
    """All texts, and of each the row that it is of."""
    rows = [row for row, texts in enumerate(turns) for _ in texts]
    return pa.array(list(chain.from_iterable(turns)), pa.string()), rows


def forms_of(stem: str) -> frozenset[str]:
    """All words that have this stem: what `_stem` does, backwards."""
    bases = {stem, stem + "e", stem + stem[-1:]}
    words = {base + ending for base in bases for ending in ("", "ing", "ed", "es", "s")}
    words |= {base[:-1] + "ies" for base in bases if base.endswith("y")}
    return frozenset(word for word in words if _stem(word) == stem)
