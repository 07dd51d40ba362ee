"""Rows of a dataset as token ids, with the places where a model was taught to answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    Taken from the splits `test` and `valid`, spread evenly over them; from `train` only where both are empty.
    Preference rows count with their chosen answer. Raises `ExportError` when there is no row at all.
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
    answer = row["chosen"] if "chosen" in row else row["completion"]
    opened: Any = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    whole: Any = tokenizer.apply_chat_template([*row["prompt"], *answer], tokenize=False)
    prompt = tokenizer.encode(opened, add_special_tokens=False)
    ids = tokenizer.encode(opened + whole.removeprefix(opened).rstrip("\n"), add_special_tokens=False)
    return Passage(ids[: len(prompt) + tokens], min(len(ids) - len(prompt), tokens))
