"""What every row becomes: how many examples, and how long they are. Their texts are made once more when they are written.

One example a row (`sft`) is told by the facts alone. The other formats make their examples row by row here.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stillhouse.datasets.batches import Batch
from stillhouse.datasets.examples import Example, Format, FormatContext, Made
from stillhouse.datasets.facts import Facts
from stillhouse.datasets.ordering import order_of
from stillhouse.datasets.sources import IDENTITY, Answers, in_threads
from stillhouse.datasets.text import count_words

CountTokens = Callable[[list[Example]], np.ndarray]
ANCESTRY_READ = (*IDENTITY, "category", "calls")


@dataclass
class Examples:
    """Examples in the total order of their rows: the row of each, which of the row's it is, and its lengths."""

    row: np.ndarray
    number: np.ndarray
    words: np.ndarray
    """Words of the completion or the chosen answer."""
    tokens: np.ndarray | None
    considered: Counter[int] = field(default_factory=Counter)
    """By source: examples that were looked at."""
    dropped: dict[int, Counter[str]] = field(default_factory=dict)
    """By source: examples that were dropped, by reason."""

    def __len__(self) -> int:
        return len(self.row)


def one_a_row(facts: Facts) -> Examples:
    """One example for every row that is left."""
    rows = np.flatnonzero(facts.alive)
    rows = rows[np.argsort(facts.place[rows])]
    return Examples(rows, np.zeros(len(rows), np.int32), facts.words[rows], None)


def make_examples(
    answers: Answers, facts: Facts, form: Format, context: FormatContext, count_tokens: CountTokens | None
) -> Examples:
    """Make the examples of every row that is left; keeps their number and lengths."""
    considered: Counter[int] = Counter()
    dropped: dict[int, Counter[str]] = {number: Counter() for number in range(len(answers.sources))}
    parts: list[tuple[np.ndarray, ...]] = []
    panels = _Panels()

    def work(batch: Batch) -> list[tuple[int, Made]]:
        alive = np.flatnonzero(facts.alive[answers.rows_of(batch)])
        own = context.of_source(batch.source)
        return [(place, form.examples(batch.row(place), own)) for place in alive.tolist()]

    for batch, made in in_threads(work, answers.batches(columns_of(form), facts.alive), threads=1):
        first = answers.rows_of(batch).start
        rows = [first + place for place, one in made for _ in one.examples]
        numbers = [number for _, one in made for number in range(len(one.examples))]
        found = [example for _, one in made for example in one.examples]
        considered[batch.source] += sum(one.considered for _, one in made)
        dropped[batch.source] += sum((one.dropped for _, one in made), Counter[str]())
        panels.add(facts.keys[first:], made)
        parts.append((np.array(rows, np.int64), np.array(numbers, np.int32), *_lengths(found, count_tokens)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0, np.int64)] * 4
    kept = panels.agree()
    for source, count in Counter(facts.source[columns[0][~kept]].tolist()).items():
        dropped[source]["contradicted"] += count
    row, number, words, tokens = (column[kept] for column in columns)
    order = order_of(number, facts.place[row])
    counted = tokens[order] if count_tokens else None
    return Examples(row[order], number[order], words[order], counted, considered, dropped)


class _Panels:
    """What panels preferred over what, of all rows: two rows of one prompt must not teach opposite preferences.

    Every example and every verdict is held as the digest of its prompt and two texts, eight bytes each.
    """

    def __init__(self) -> None:
        self._verdicts: list[np.ndarray] = []
        self._opposites: list[np.ndarray] = []

    def add(self, keys: np.ndarray, made: list[tuple[int, Made]]) -> None:
        """Take in the rows of a batch, `keys` by place; in the order of their examples."""
        told = [_digest(keys[place], *sides) for place, one in made for sides in one.judged]
        opposite = [_opposite(keys[place], example) for place, one in made for example in one.examples]
        self._verdicts.append(np.array(told, np.uint64))
        self._opposites.append(np.array(opposite, np.uint64))

    def agree(self) -> np.ndarray:
        """Which examples no panel contradicts."""
        verdicts, opposites = (
            np.concatenate([np.zeros(0, np.uint64), *found]) for found in (self._verdicts, self._opposites)
        )
        return ~np.isin(opposites, verdicts)


def _opposite(key: np.uint64, example: Example) -> int:
    """Digest of the verdict that would contradict a pair; 0 for an example that is none."""
    if "chosen" not in example:
        return 0
    return _digest(key, *(example[side][0]["content"].strip() for side in ("rejected", "chosen")))


def _digest(key: np.uint64, *texts: str) -> int:
    """A prompt with the better and the worse text."""
    joined = b"\0".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    return int.from_bytes(hashlib.blake2b(int(key).to_bytes(8, "little") + joined, digest_size=8).digest(), "little")


def columns_of(form: Format) -> tuple[str, ...]:
    """Columns of answers.parquet that the examples of a format and their ancestry are made of."""
    return tuple(dict.fromkeys([*ANCESTRY_READ, "messages", "answer", *form.columns]))


def _lengths(examples: list[Example], count_tokens: CountTokens | None) -> tuple[np.ndarray, np.ndarray]:
    words = [count_words(answer_of(example)) for example in examples]
    tokens = count_tokens(examples) if count_tokens else np.zeros(len(examples), np.int32)
    return np.array(words, np.int32), tokens


def answer_of(example: Mapping[str, Any]) -> str:
    """The text that an example teaches: its completion, or its chosen answer."""
    turns = example["completion"] if "completion" in example else example["chosen"]
    return "\n".join(turn.get("content") or "" for turn in turns)


def examples_of(
    batch: Batch, places: np.ndarray, numbers: np.ndarray, form: Format, context: FormatContext
) -> Iterator[Example]:
    """The examples of a batch at `places` (rows, ascending) with these `numbers` among each row's."""
    made: tuple[int, list[Example]] = (-1, [])
    own = context.of_source(batch.source)
    for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
        if made[0] != place:
            made = (place, form.examples(batch.row(place), own).examples)
        yield made[1][number]
