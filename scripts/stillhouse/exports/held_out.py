"""Rows of a dataset as token ids, with the places where a model was taught to answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from stillhouse.errors import ExportError
from stillhouse.provenance.files import read_parquet_rows


@dataclass(frozen=True)
class Passage:
    """A prompt with (the beginning of) its answer; `answer` is the number of ids at the end that belong to the answer."""

    ids: list[int]
    answer: int

    @property
    def targets(self) -> list[int]:
        """The answer's ids."""
        return self.ids[-self.answer :]

    @property
    def places(self) -> slice:
        """Where a model says what it expects of each target, in logits of the whole passage."""
        return slice(len(self.ids) - self.answer - 1, len(self.ids) - 1)


def read_passages(
    splits: Mapping[str, Path], count: int, tokens: int, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, int], list[Passage]]:
    """At most `count` rows as passages with at most `tokens` ids of each answer, and how many came from which split.

    A prompt is read whole. Taken from the splits `test` and `valid`, spread evenly over them; from `train` only where
    both are empty. Preference rows count with their chosen answer. Raises `ExportError` when there is no row at all, and
    for a row that a model could not answer: one whose answer has no token, or that the template refuses.
    """
    held = [(name, row) for name in ("test", "valid") if name in splits for row in read_parquet_rows(splits[name])]
    rows = held or [("train", row) for row in read_parquet_rows(splits["train"])]
    if not rows:
        raise ExportError("the dataset has no row to measure with")
    taken = min(count, len(rows))
    chosen = [rows[number * len(rows) // taken] for number in range(taken)]
    passages = [_passage(row, tokens, tokenizer) for _, row in chosen]
    return {name: sum(one == name for one, _ in chosen) for name in dict.fromkeys(n for n, _ in chosen)}, passages


def _passage(row: Mapping[str, Any], tokens: int, tokenizer: PreTrainedTokenizerBase) -> Passage:
    """A row as training reads it: the answer begins where the conversation leaves the prompt alone.

    A template may open an answer with other signs than it keeps of one (an empty or an open <think>), so that the
    conversation does not begin with its opened prompt. Both answers of a pair begin at the same place.
    """
    sides = ("chosen", "rejected") if "chosen" in row else ("completion",)
    prompt = _messages(row["prompt"])
    tools = json.loads(row["tools"]) if (row.get("tools") or "").strip() else None
    try:
        texts: list[Any] = [
            tokenizer.apply_chat_template(prompt, tools=tools, tokenize=False, add_generation_prompt=True),
            *(
                tokenizer.apply_chat_template([*prompt, *_messages(row[side])], tools=tools, tokenize=False)
                for side in sides
            ),
        ]
    except (TemplateError, ValueError) as error:
        raise ExportError(f"{_named(row)}: the chat template refuses it: {error}") from error
    # a line break after the end token is never generated
    texts[1:] = [text.rstrip("\n") for text in texts[1:]]
    opened, *wholes = (tokenizer.encode(text, add_special_tokens=False) for text in texts)
    start, ids = min(_shared(opened, whole) for whole in wholes), wholes[0]
    if not 0 < start < len(ids):
        raise ExportError(f"{_named(row)}: no token of its answer can be told from its prompt")
    return Passage(ids[: start + tokens], min(len(ids) - start, tokens))


def _shared(one: list[int], other: list[int]) -> int:
    """How many ids two sequences begin with in common."""
    unlike = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(unlike, min(len(one), len(other)))


def _messages(held: Any) -> list[dict[str, Any]]:
    """Messages with the keys that they have; they come as structs or, where some hold more, each as JSON."""
    found = [json.loads(message) if isinstance(message, str) else message for message in held or []]
    return [{key: value for key, value in message.items() if value is not None} for message in found]


def _named(row: Mapping[str, Any]) -> str:
    return f"row {row.get('prompt_id')} (id {row.get('id')!r})"
