"""Rows as token ids, the same that TRL's trainers make of them; the preflight and the training both use this."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.training.rows import SIDES, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that carries no loss."""


@dataclass(frozen=True)
class Tokens:
    """One answer with its prompt as token ids; `left_out` counts those of the prompt alone that it does not follow."""

    prompt: list[int]
    answer: list[int]
    left_out: int = 0

    @cached_property
    def ids(self) -> list[int]:
        """All tokens, as the model reads them."""
        return [*self.prompt, *self.answer]

    @cached_property
    def labels(self) -> list[int]:
        """The token to learn at each place, or `IGNORED`."""
        return [IGNORED] * len(self.prompt) + self.answer


@dataclass(frozen=True)
class Rendered:
    """A row as text: its prompt with the opening of the answer, and the conversation with each of its answers."""

    opened: str
    whole: tuple[str, ...]


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model folder, offline and without its weights."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)


def render(row: Row, objective: str, tokenizer: "PreTrainedTokenizerBase") -> Rendered:
    """A row by the tokenizer's chat template; raises what the template raises."""
    tools = row.get("tools") or None
    opened = tokenizer.apply_chat_template(row["prompt"], tools=tools, tokenize=False, add_generation_prompt=True)
    sides = [
        tokenizer.apply_chat_template(row["prompt"] + row[side], tools=tools, tokenize=False)
        for side in SIDES[objective]
    ]
    if objective == "orpo":  # its trainer ends an answer itself, and a line break after the end would make it end twice
        sides = [text.rstrip() for text in sides]
        opened = opened[: min(_shared(opened, text) for text in sides)]
    return Rendered(opened, tuple(sides))


def tokenise(rendered: Sequence[Rendered], objective: str, tokenizer: "PreTrainedTokenizerBase") -> list[list[Tokens]]:
    """The answers of each row as `Tokens`; all texts are encoded together, on all cores."""
    width = len(SIDES[objective])
    texts = [text for row in rendered for text in (row.opened, *row.whole)]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    groups = (ids[start : start + width + 1] for start in range(0, len(ids), width + 1))
    if objective == "orpo":
        return [[_ended(opened, side, tokenizer) for side in sides] for opened, *sides in groups]
    return [_split(opened, sides) for opened, *sides in groups]


def _split(opened: list[int], sides: list[list[int]]) -> list[Tokens]:
    """An answer begins where the conversation leaves the prompt alone; both answers of a pair at the same place."""
    start = min(_shared(opened, side) for side in sides)
    return [Tokens(opened[:start], side[start:], len(opened) - start) for side in sides]


def _shared(one: Iterable[Any], other: Iterable[Any]) -> int:
    """How many tokens or letters two sequences begin with in common."""
    length = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        length += 1
    return length


def _ended(opened: list[int], side: list[int], tokenizer: "PreTrainedTokenizerBase") -> Tokens:
    """As ORPO's trainer does: a prompt has an opening token, an answer its end token."""
    start = len(opened) if side[: len(opened)] == opened else len(opened) - 1
    prompt, answer = side[:start], side[start:]
    if tokenizer.bos_token_id is not None and prompt[:1] != [tokenizer.bos_token_id]:
        prompt = [tokenizer.bos_token_id, *prompt]
    if answer[-1:] != [tokenizer.eos_token_id]:
        answer = [*answer, tokenizer.eos_token_id]
    return Tokens(prompt, answer, len(opened) - start)


def trainer_row(sides: list[Tokens], objective: str) -> dict[str, Any]:
    """The columns that the objective's trainer makes of a row, for it to take as they are."""
    if objective == "sft":
        return {"input_ids": sides[0].ids, "labels": sides[0].labels}
    if objective == "dpo":
        return {"prompt_ids": sides[0].prompt, "chosen_ids": sides[0].answer, "rejected_ids": sides[1].answer}
    row: dict[str, Any] = {"prompt_input_ids": sides[0].prompt, "prompt_attention_mask": [1] * len(sides[0].prompt)}
    for name, side in zip(SIDES["orpo"], sides, strict=True):
        row |= {f"{name}_input_ids": side.ids, f"{name}_attention_mask": [1] * len(side.ids)}
        row[f"{name}_labels"] = side.labels
    return row
