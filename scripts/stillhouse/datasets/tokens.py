"""Lengths in tokens, by the tokenizer and the chat template of the model that will be trained."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.datasets.messages import Message, read_examples
from stillhouse.errors import InputError

Row = Mapping[str, Any]

BLOCK = 1_000
"""Texts that are tokenised at once."""

EDGES = (0, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384, 32768)
"""Where the bins of the histogram begin, in tokens; the last one is open."""

COLUMNS = ["prompt", "completion", "chosen", "rejected", "tools", "generation", "prompt_id"]


class Counter:
    """Counts tokens with the tokenizer files of a model's folder; loads them at once, and no weights.

    Raises `InputError` where the folder holds no tokenizer, or one without a chat template.
    """

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoTokenizer

        self.name = Path(folder).name
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as error:  # of a damaged file `tokenizers` raises any kind, bare ones too
            told = f"{type(error).__name__}: {error}"
            raise InputError(f"{folder}: no tokenizer that can be loaded: {told}") from None
        if not tokenizer.chat_template:
            raise InputError(f"{folder}: its tokenizer has no chat template, so rows cannot be counted")
        self._tokenizer = tokenizer

    def count(self, texts: Iterable[str]) -> np.ndarray:
        """Tokens of each text alone, without special ones (int32)."""
        counts: list[int] = []
        for block in _blocks(texts):
            encoded = self._tokenizer.backend_tokenizer.encode_batch_fast(block, add_special_tokens=False)
            counts.extend(map(len, encoded))
        return np.array(counts, np.int32)

    def count_rows(self, rows: Iterable[Row]) -> np.ndarray:
        """Tokens that training reads of each row of a dataset: the whole conversation, of a pair both of them (int32).

        Raises `InputError` naming the prompt where the chat template refuses a conversation.
        """
        rows = list(rows)
        ends = np.cumsum([0, *(len(sides_of(row)) for row in rows)])
        counts = self.count(self._whole(row, side) for row in rows for side in sides_of(row))
        totals = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        return (totals[ends[1:]] - totals[ends[:-1]]).astype(np.int32)

    def count_sides(self, rows: list[Row]) -> dict[str, np.ndarray]:
        """Tokens of the conversation that each answer column ends, for rows of one format; at least one row."""
        return {side: self.count(self._whole(row, side) for row in rows) for side in sides_of(rows[0])}

    def _whole(self, row: Row, side: str) -> str:
        """A row's conversation up to the answer in `side`, rendered."""
        from jinja2 import TemplateError

        messages: list[Message] = [*row["prompt"], *row[side]]
        tools = json.loads(row["tools"]) if row.get("tools") else None
        try:
            return self._tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        except (TemplateError, TypeError, ValueError) as error:
            name = row.get("prompt_id") or repr(messages[0].get("content"))[:80]
            raise InputError(f"prompt {name}: the chat template of {self.name} refuses it: {error}") from None


def sides_of(row: Row) -> tuple[str, ...]:
    """The columns with answers of a dataset's row."""
    return ("completion",) if "completion" in row else ("chosen", "rejected")


@dataclass
class Lengths:
    """Tokens of the rows of one split: what training reads, the longer conversation, and chosen minus rejected."""

    read: list[np.ndarray] = field(default_factory=list)
    longest: list[np.ndarray] = field(default_factory=list)
    differences: list[np.ndarray] = field(default_factory=list)

    def add(self, sides: Mapping[str, np.ndarray]) -> np.ndarray:
        """Take in a block of rows, as `Counter.count_sides` tells them; returns the tokens that training reads of each."""
        counts = np.stack(list(sides.values())).astype(np.int64)
        self.read.append(counts.sum(axis=0))
        self.longest.append(counts.max(axis=0))
        if "chosen" in sides:
            self.differences.append(counts[0] - counts[1])
        return self.read[-1]


def statistics(counter: Counter, splits: Mapping[str, Path], max_length: int | None = None) -> dict[str, Any]:
    """What a dataset's splits (split -> parquet) come to in tokens, as plain JSON types; nothing of the text is kept.

    `splits`: rows, tokens, mean, median, 95th percentile and longest conversation, and the share of rows longer than
    `max_length`; `histogram` of the conversations, of a pair the longer; `chosen_minus_rejected` for pairs; `mix`: each generation's share of the
    rows and of the tokens. Raises `InputError` as `Counter.count_rows` and `read_examples` do.
    """
    lengths, everything = {name: Lengths() for name in splits}, Lengths()
    mix: dict[str, list[int]] = {}
    for name, path in splits.items():
        for block in _blocks(read_examples(path, COLUMNS)):
            sides = counter.count_sides(block)
            lengths[name].add(sides)
            for row, tokens in zip(block, everything.add(sides).tolist(), strict=True):
                books = mix.setdefault(row["generation"], [0, 0])
                books[0] += 1
                books[1] += tokens
    return {
        "tokenizer": counter.name,
        "max_length": max_length,
        "all": _summary(everything, max_length),
        "splits": {name: _summary(one, max_length) for name, one in lengths.items()},
        "histogram": {"edges": list(EDGES), **{name: _histogram(one.longest) for name, one in lengths.items()}},
        "chosen_minus_rejected": _difference(everything.differences),
        "mix": _mix(mix),
    }


def _summary(lengths: Lengths, max_length: int | None) -> dict[str, Any]:
    longest = _joined(lengths.longest)
    rows = len(longest)
    told: dict[str, Any] = {"rows": rows, "tokens": int(_joined(lengths.read).sum())}
    told |= {"mean": _rounded(longest.mean()), "median": _rounded(np.median(longest))} if rows else {}
    told |= {"p95": _rounded(np.percentile(longest, 95)), "longest": int(longest.max())} if rows else {}
    if max_length is not None:
        cut = int((longest > max_length).sum())
        told |= {"truncated": cut, "truncated_share": round(cut / rows, 6) if rows else None}
    return told


def _difference(found: list[np.ndarray]) -> dict[str, Any] | None:
    """How much longer chosen answers are than rejected ones: a model may learn that instead of what is better."""
    differences = _joined(found)
    if not len(differences):
        return None
    low, middle, high = np.percentile(differences, [5, 50, 95])
    return {
        "mean": _rounded(differences.mean()),
        "median": _rounded(middle),
        "p5": _rounded(low),
        "p95": _rounded(high),
        "chosen_longer_share": round(float((differences > 0).mean()), 6),
    }


def _mix(books: Mapping[str, list[int]]) -> list[dict[str, Any]]:
    rows, tokens = (sum(one[place] for one in books.values()) for place in (0, 1))
    return [
        {
            "generation": name,
            "rows": own_rows,
            "tokens": own_tokens,
            "share_of_rows": round(own_rows / rows, 6),
            "share_of_tokens": round(own_tokens / tokens, 6) if tokens else None,
        }
        for name, (own_rows, own_tokens) in sorted(books.items())
    ]


def _histogram(found: list[np.ndarray]) -> list[int]:
    places = np.searchsorted(EDGES, _joined(found), side="right") - 1
    return np.bincount(places, minlength=len(EDGES)).tolist()


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _rounded(value: float) -> float:
    return round(float(value), 2)


def _blocks(items: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while block := list(islice(left, BLOCK)):
        yield block
