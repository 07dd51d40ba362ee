"""Checks on tokenised rows before any step is made: what is supervised must be the answer and its end."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from stillhouse.errors import TrainingError
from stillhouse.training.completion import IGNORED

Row = dict[str, Any]


@dataclass(frozen=True)
class Supervised:
    """The token ids of a row, and those of them that carry loss."""

    ids: list[int]
    kept: list[int]

    @classmethod
    def of(cls, ids: list[int], labels: list[int]) -> "Supervised":
        """From labels as trainers hold them, where -100 carries no loss."""
        return cls(list(ids), [label for label in labels if label != IGNORED])


def row_name(row: Row, number: int) -> str:
    """How a row is told to the user."""
    return f"row {number} (prompt {row.get('id') or row.get('prompt_id') or '?'})"


def check_rows(rows: list[Row], sides: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
    """Refuse an empty split, empty answers and rows longer than `longest` tokens; raises `TrainingError`.

    `sides` names the columns with answers: completion, or chosen and rejected. Rows are never cut: a cut
    answer has no end and teaches the model not to stop.
    """
    if not rows:
        raise TrainingError("the train split is empty")
    for number, row in enumerate(rows):
        for side in sides:
            if not row[side] or not row[side][-1]["content"].strip():
                raise TrainingError(f"{row_name(row, number)}: {side} is empty")
            text = tokenizer.apply_chat_template(row["prompt"] + row[side], tokenize=False)
            length = len(tokenizer.encode(text, add_special_tokens=False))
            if length > longest:
                raise TrainingError(
                    f"{row_name(row, number)}: {length} tokens, more than training.max_length {longest}; "
                    "raise it or filter long answers"
                )


def supervised_rows(dataset: Iterable[Row], objective: str) -> Iterator[list[Supervised]]:
    """What a trainer will learn from each row of its tokenised dataset: one entry for SFT, two for preferences."""
    for entry in dataset:
        if objective == "sft":
            yield [Supervised.of(entry["input_ids"], entry["labels"])]
        elif objective == "dpo":
            prompt, sides = entry["prompt_ids"], (entry["chosen_ids"], entry["rejected_ids"])
            yield [Supervised([*prompt, *side], list(side)) for side in sides]
        else:
            sides = ("chosen", "rejected")
            yield [Supervised.of(entry[f"{side}_input_ids"], entry[f"{side}_labels"]) for side in sides]


def check_supervision(
    supervised: Iterable[list[Supervised]], rows: list[Row], sides: tuple[str, ...], tokenizer: PreTrainedTokenizerBase
) -> dict[str, int]:
    """Decode what each row supervises: exactly the answer and its end token, nothing of the prompt.

    `supervised` holds the sides of each of `rows`, in order. Returns the numbers of tokens and of supervised
    tokens. Raises `TrainingError` naming the row.
    """
    learned = list(supervised)
    if len(learned) != len(rows):
        raise TrainingError(f"the trainer kept {len(learned)} of {len(rows)} rows")
    for number, (entries, row) in enumerate(zip(learned, rows, strict=True)):
        for entry, side in zip(entries, sides, strict=True):
            fault = _fault(entry, row[side][-1]["content"], tokenizer)
            if fault:
                raise TrainingError(f"{row_name(row, number)}: {fault}")
    flat = [entry for entries in learned for entry in entries]
    return {"tokens": sum(len(e.ids) for e in flat), "supervised_tokens": sum(len(e.kept) for e in flat)}


def _fault(entry: Supervised, answer: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What is wrong with the supervision of one answer, in words; None when nothing is."""
    end = tokenizer.eos_token
    if not entry.kept:
        return "no token is supervised"
    if tokenizer.eos_token_id not in entry.kept:
        return f"the end token {end!r} is not supervised"
    text = tokenizer.decode(entry.kept)
    if text.replace(end, "").strip() != answer.replace(end, "").strip():
        return f"supervised text is {text[:80]!r}, not the answer"
    if entry.ids[:2] == [tokenizer.bos_token_id] * 2:
        return f"starts with two {tokenizer.bos_token!r}"
    return None
