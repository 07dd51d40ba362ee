"""Checks on tokenised rows before any step is made: what is supervised must be the answer and its end."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stillhouse.errors import TrainingError
from stillhouse.training.rows import SIDES, Message, Row
from stillhouse.training.tokens import IGNORED, Rendered, Tokens, render, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
TOLD = 20
"""Failures that an error lists."""


@dataclass(frozen=True)
class Failure:
    """Something that a training would learn wrongly. `row` is None where no row is to blame."""

    name: str
    text: str
    split: str = "train"
    row: int | None = None
    prompt: str | None = None
    side: str | None = None

    def __str__(self) -> str:
        place = f"{self.split} row {self.row} (prompt {self.prompt}): " if self.row is not None else ""
        return f"{place}{self.name}: {self.text}"


@dataclass
class Examined:
    """A split as tokens, with what is wrong with it; a row that could not be rendered has no sides."""

    rows: list[list[Tokens]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def answers(self) -> Iterator[Tokens]:
        """All answers of all rows."""
        return (tokens for sides in self.rows for tokens in sides)


def examine(
    rows: list[Row], split: str, objective: str, tokenizer: "PreTrainedTokenizerBase", longest: int
) -> Examined:
    """Tokenise `rows` as their trainer does and look at what each of them supervises.

    `longest` is the most tokens a row may have. Rows are never cut: a cut answer has no end and teaches the model not
    to stop.
    """
    examined = Examined()
    if not rows and split == "train":
        examined.failures.append(Failure("empty_split", "the train split is empty", split))
    rendered: list[tuple[int, Rendered]] = []
    for number, row in enumerate(rows):
        found = _render(row, objective, tokenizer)
        if isinstance(found, Rendered):
            rendered.append((number, found))
        else:
            examined.failures += [_failure(fault, split, row, number) for fault in found]
    tokens = tokenise([text for _, text in rendered], objective, tokenizer)
    sides_of = dict(zip((number for number, _ in rendered), tokens, strict=True))
    texts_of = dict(rendered)
    for number, row in enumerate(rows):
        sides = sides_of.get(number, [])
        examined.rows.append(sides)
        faults = row_faults(row, sides, texts_of[number], objective, tokenizer, longest) if sides else []
        examined.failures += [_failure(fault, split, row, number) for fault in faults]
    return examined


Fault = tuple[str, str, str | None]
"""Name, words, and the side of the row."""


def _failure(fault: Fault, split: str, row: Row, number: int) -> Failure:
    name, text, side = fault
    return Failure(name, text, split, number, str(row.get("id") or row.get("prompt_id") or "?"), side)


def _render(row: Row, objective: str, tokenizer: "PreTrainedTokenizerBase") -> Rendered | list[Fault]:
    """The row as text, or why there is none."""
    empty: list[Fault] = [
        ("empty_answer", f"{side} is empty", side) for side in SIDES[objective] if not _said(row[side])
    ]
    if empty:
        return empty
    try:
        return render(row, objective, tokenizer)
    except Exception as error:  # templates raise what they like: jinja's errors, TypeError, KeyError
        return [("template_error", f"the chat template refuses it: {error}", None)]


def _said(messages: list[Message]) -> bool:
    """Whether an answer holds a text or a tool call."""
    return bool(messages) and bool(_content(messages[-1]).strip() or messages[-1].get("tool_calls"))


def _content(message: Message) -> str:
    """The text of a message; parts of other kinds count as nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def row_faults(
    row: Row,
    sides: list[Tokens],
    rendered: Rendered,
    objective: str,
    tokenizer: "PreTrainedTokenizerBase",
    longest: int,
) -> list[Fault]:
    """What is wrong with one row: name, words, and side of each fault."""
    found: list[Fault] = []
    for tokens, text, side in zip(sides, rendered.whole, SIDES[objective], strict=True):
        if len(tokens.ids) > longest:
            words = (
                f"{len(tokens.ids)} tokens, more than training.max_length {longest}; raise it or filter long answers"
            )
            found.append(("truncated", words, side))
        dropped = next((thought for thought in _thoughts(row["prompt"]) if thought not in text), None)
        if dropped is not None:
            words = f"the chat template drops the reasoning of an earlier turn: {dropped[:60]!r}"
            found.append(("earlier_reasoning_dropped", words, side))
        fault = supervision_fault(tokens, row[side], tokenizer)
        if fault:
            found.append((*fault, side))
    return found


def _thoughts(messages: list[Message]) -> Iterator[str]:
    """The reasoning that assistant turns hold, between <think> tags or in a key of its own."""
    for message in messages:
        if message.get("role") != "assistant":
            continue
        blocks = [*THOUGHT.findall(_content(message)), *(message.get(key) for key in REASONING_KEYS)]
        yield from (block.strip() for block in blocks if isinstance(block, str) and block.strip())


def supervision_fault(
    tokens: Tokens, answer: list[Message], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[str, str] | None:
    """What is wrong with the supervision of one answer: a name and words; None when it is the answer and its end."""
    end = tokenizer.eos_token
    if not any(label != IGNORED for label in tokens.labels):
        return "no_supervision", "no token is supervised"
    if tokenizer.bos_token_id is not None and tokens.ids[:2] == [tokenizer.bos_token_id] * 2:
        return "doubled_bos", f"starts with two {tokenizer.bos_token!r}"
    ends = tokens.answer.count(tokenizer.eos_token_id)
    if not ends:
        return "missing_eos", f"the end token {end!r} is not supervised, so the model would not learn to stop"
    text = tokenizer.decode(tokens.answer, clean_up_tokenization_spaces=False)
    lost = next((thought for thought in _thoughts(answer) if thought not in text), None)
    if lost is not None:
        return "reasoning_dropped", f"the chat template drops the answer's own reasoning: {lost[:60]!r}"
    if ends > 1:
        return "extra_eos", f"the end token {end!r} is supervised {ends} times; it ends the answer once"
    return _text_fault(text.replace(end, "").strip(), answer)


def _text_fault(text: str, answer: list[Message]) -> tuple[str, str] | None:
    """Whether the supervised `text` is that of the answer, after reasoning that the template writes around it."""
    content = _content(answer[-1]).strip()
    if answer[-1].get("tool_calls"):
        return None if content in text else ("wrong_text", f"supervised text is {text[:80]!r}, not the answer")
    plain = text if "<think>" in content else THOUGHT.sub("", text, count=1).strip()
    if plain == content:
        return None
    if content and plain.endswith(content):
        return "prompt_supervised", f"supervised text is {text[:80]!r}: more than the answer"
    return "wrong_text", f"supervised text is {text[:80]!r}, not the answer"


def model_failures(tokenizer: "PreTrainedTokenizerBase", config: dict[str, Any]) -> list[Failure]:
    """What is wrong between tokenizer and model: `config` is the model's config.json."""
    found = []
    if not tokenizer.chat_template:
        found.append(Failure("no_template", "the tokenizer has no chat template"))
    if tokenizer.eos_token_id is None:
        found.append(Failure("no_eos", "the tokenizer has no end token"))
    elif tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        words = f"the padding token is the end token {tokenizer.eos_token!r}: a masked end cannot be told from padding"
        found.append(Failure("pad_is_eos", words))
    largest = max(tokenizer.get_vocab().values(), default=-1)
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if size is not None and largest >= size:
        words = f"the tokenizer's largest id is {largest}, the model has ids below {size} (config.json vocab_size)"
        found.append(Failure("vocabulary_mismatch", words))
    return found


def refuse(failures: Iterable[Failure]) -> None:
    """Raise `TrainingError` that lists `failures` row by row, the first `TOLD` of them; does nothing for none."""
    told = [str(failure) for failure in failures]
    if told:
        more = [f"and {len(told) - TOLD} more"] if len(told) > TOLD else []
        raise TrainingError("\n".join([f"{len(told)} failures before training:", *told[:TOLD], *more]))
