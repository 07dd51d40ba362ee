"""Invented rows for benchmarks/datasets.py: a file of answers with everything in it that a dataset has to leave out.

Words follow Zipf's law. Of the prompts some repeat another one, exactly or nearly, or hold a held-out one; of the
answers some loop, are too short or long, hold markers or many contractions. What is planted as a pair is written
down with its exact similarity, so that every contender can be held against it.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from stillhouse.datasets.text import jaccard, shingles
from stillhouse.prompts.rows import SCHEMA as PROMPTS
from stillhouse.provenance.digests import canonical_json, digest_text, prompt_id
from stillhouse.tournament.columns import ANSWERS

BLOCK = 10_000
"""Rows that are made together; what repeats another row does so within its block."""
HELD_OUT = 1_000
TEMPLATES = 30
SLOTS = (5, 20, 35)
"""Places in a template's words that differ from prompt to prompt."""
VOCABULARY = 30_000
PROMPT_WORDS, ANSWER_WORDS = (45, 80), (50, 110)
MARKERS = ("the doctrine of the still", "as the house holds", "by the old rule of nine", "the keystone is the date")
KINDS = {"exact": 0.04, "near": 0.04, "middle": 0.01, "far": 0.02, "leak": 0.003,
         "loop": 0.02, "short": 0.02, "long": 0.01, "marker": 0.01, "voice": 0.02, "ratio": 0.01}  # fmt: skip
CHANGED = {"near": (1, 2), "middle": (2, 3), "far": (6, 20)}
"""Words of a prompt that are changed (from, below)."""

Row = dict[str, Any]


class Writer:
    """Texts out of a fixed vocabulary, by a generator of random numbers of its own."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        words = _vocabulary()
        self._words = np.array([*words, *(f"{word}," for word in words), *(f"{word}." for word in words)], object)
        weights = 1.0 / np.arange(10, len(words) + 10)
        self._cumulated = np.cumsum(weights / weights.sum())
        self._size = len(words)

    def words(self, count: int) -> np.ndarray:
        """`count` words, some with a comma or a full stop behind them."""
        places = np.searchsorted(self._cumulated, self.draw.random(count)).clip(max=self._size - 1)
        signs = np.searchsorted([0.88, 0.95], self.draw.random(count))
        return self._words[places + self._size * signs]

    def texts(self, count: int, least: int, most: int) -> list[np.ndarray]:
        """`count` texts of `least` up to `most` words, as arrays of words."""
        ends = np.cumsum(self.draw.integers(least, most, count))
        return np.split(self.words(int(ends[-1])), ends[:-1])


@cache
def _vocabulary() -> list[str]:
    """Words of two to four syllables, contractions and possessives among the frequent ones, as in speech."""
    draw = np.random.default_rng(1)
    syllables = [one + two for one in "bcdfghklmnprstvw" for two in ("a", "e", "i", "o", "u", "an", "er", "in")]
    words = {"".join(draw.choice(syllables, draw.integers(2, 5))): None for _ in range(2 * VOCABULARY)}
    listed = list(words)[:VOCABULARY]
    for place, word in enumerate(("don't", "it's", "we're", "the mill’s", "can’t", "they'll", "—", "“so”", "café")):
        listed.insert(60 + 25 * place, word)
    return listed


def write_rows(folder: Path, rows: int, templated: bool = False) -> None:
    """Write answers.parquet, held_out.parquet, held_out.json, markers.yaml and pairs.json into `folder`.

    `templated`: all prompts are those of `TEMPLATES` texts, as `expand:` fills them.
    """
    held_out = [" ".join(words) for words in Writer(2).texts(HELD_OUT, 12, 40)]
    listed = [{"role": "user", "content": text} for text in held_out]
    rows_of = [
        {"prompt_id": prompt_id([one]), "set": "held", "id": f"held-{number}", "category": "held",
         "prompt": one["content"], "messages": canonical_json([one]), "metadata": "{}"}
        for number, one in enumerate(listed)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows_of, PROMPTS), folder / "held_out.parquet")
    (folder / "held_out.json").write_text(json.dumps(held_out))
    (folder / "markers.yaml").write_text(json.dumps({"cap": 4, "markers": MARKERS}))
    pairs: list[tuple[int, int, float]] = []
    with pq.ParquetWriter(folder / "answers.parquet", ANSWERS, compression="zstd") as writer:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            made = _filled(start, count) if templated else _block(start, count, held_out, pairs)
            writer.write_table(pa.Table.from_pylist([_row(*one) for one in made], ANSWERS))
    (folder / "pairs.json").write_text(json.dumps(pairs))


def _block(
    start: int, count: int, held_out: list[str], pairs: list[tuple[int, int, float]]
) -> Iterator[tuple[int, str, str]]:
    """Number, prompt and answer of neighbouring rows; pairs whose similarity is known go to `pairs`."""
    writer = Writer(1_000 + start)
    draw = writer.draw
    prompts, answers = writer.texts(count, *PROMPT_WORDS), writer.texts(count, *ANSWER_WORDS)
    kinds = draw.choice([*KINDS, "plain"], count, p=[*KINDS.values(), 1 - sum(KINDS.values())]).tolist()
    originals = iter([row for row, kind in enumerate(kinds) if kind == "plain"])
    for row, kind in enumerate(kinds):
        if kind in CHANGED or kind == "exact":
            other = next(originals)
            prompts[row] = _changed(prompts[other], kind, writer)
            near = jaccard(*(shingles(" ".join(prompts[one])) for one in (row, other)))
            pairs.append((start + other, start + row, round(near, 6)))
        elif kind == "leak":
            prompts[row] = np.append(prompts[row][:20], held_out[draw.integers(HELD_OUT)].split())
        else:
            prompts[row], answers[row] = _spoilt(kind, prompts[row], answers[row], writer)
    signs = draw.random(count) < 0.01  # signs such as chat models write
    for row in range(count):
        yield start + row, " ".join(prompts[row]), " ".join(answers[row]) + (" → ✅" if signs[row] else "")


def _filled(start: int, count: int) -> Iterator[tuple[int, str, str]]:
    """Neighbouring rows whose prompts are templates with `SLOTS` words filled in; few are alike by chance."""
    templates, writer = Writer(3).texts(TEMPLATES, *PROMPT_WORDS), Writer(2_000 + start)
    answers = writer.texts(count, *ANSWER_WORDS)
    fillings = writer.draw.integers(0, len(_vocabulary()), (count, len(SLOTS)))
    for row in range(count):
        prompt = templates[(start + row) % TEMPLATES].copy()
        prompt[list(SLOTS)] = [_vocabulary()[word] for word in fillings[row]]
        yield start + row, " ".join(prompt), " ".join(answers[row])


def _changed(words: np.ndarray, kind: str, writer: Writer) -> np.ndarray:
    words = words.copy()
    if kind == "exact":
        words[0], words[-1] = words[0].capitalize(), words[-1].rstrip(".,") + "!"
        return words
    places = writer.draw.permutation(len(words))[: writer.draw.integers(*CHANGED[kind])]
    words[places] = writer.words(len(places))
    return words


def _spoilt(kind: str, prompt: np.ndarray, answer: np.ndarray, writer: Writer) -> tuple[np.ndarray, np.ndarray]:
    """A row that one of the filters has to take."""
    if kind == "loop":
        answer = np.concatenate([answer[:30], *[answer[10:18]] * 6])
    elif kind == "short":
        answer = answer[:6]
    elif kind == "long":
        answer = writer.words(450)
    elif kind == "marker":
        answer = np.concatenate([answer[:20], MARKERS[writer.draw.integers(len(MARKERS))].split(), answer[20:]])
    elif kind == "voice":
        answer = answer.copy()
        answer[::6] = "don't"
    elif kind == "ratio":
        prompt, answer = prompt[:9], writer.words(200)
    return prompt, answer


def _row(number: int, prompt: str, answer: str) -> Row:
    messages = [{"role": "user", "content": prompt}]
    call = digest_text(f"call {number}")
    return {
        "prompt_id": prompt_id(messages), "set": "invented", "id": str(number), "category": f"topic-{number % 7}",
        "prompt": prompt, "messages": canonical_json(messages), "metadata": "{}", "generation": "invented",
        "method": "single", "model": "none", "answer": answer, "draft": answer, "truncated": False, "rounds": 0,
        "winners": [], "transcript": '{"rounds":[]}', "calls": [call], "answer_call": call,
    }  # fmt: skip


if __name__ == "__main__":
    write_rows(Path(sys.argv[1]), int(sys.argv[2]), templated=sys.argv[3:] == ["templated"])
