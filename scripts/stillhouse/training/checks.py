"""Checks on tokenised rows before any step is made: what is supervised must be the answer and its end."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stillhouse.errors import TrainingError
from stillhouse.training.bases import Base
from stillhouse.training.dropped import THOUGHT, Told, content_of, lost_call, prompt_told, thoughts
from stillhouse.training.rows import SIDES, Message, Row, learned_digest
from stillhouse.training.tokens import IGNORED, Rendered, Tokens, render, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    """A split as tokens, with what is wrong with it and its digest; a row that could not be rendered has no sides."""

    rows: list[list[Tokens]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    digest: str = ""

    @property
    def answers(self) -> Iterator[Tokens]:
        """All answers of all rows."""
        return (tokens for sides in self.rows for tokens in sides)


@dataclass(frozen=True)
class Bound:
    """What rows are held against."""

    objective: str
    tokenizer: "PreTrainedTokenizerBase"
    longest: int
    base: Base


def examine(
    rows: list[Row],
    split: str,
    objective: str,
    tokenizer: "PreTrainedTokenizerBase",
    longest: int,
    base: Base | None = None,
) -> Examined:
    """Tokenise `rows` as their trainer does and look at what each of them supervises.

    `longest` is the most tokens a row may have, `base` what the model's files tell about it. Rows are never cut: a cut
    answer has no end and teaches the model not to stop.
    """
    bound = Bound(objective, tokenizer, longest, base or Base())
    examined = Examined(digest=learned_digest(rows, objective))
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
        faults = row_faults(row, sides, texts_of[number], bound) if sides else []
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
    return bool(messages) and bool(content_of(messages[-1]).strip() or messages[-1].get("tool_calls"))


def row_faults(row: Row, sides: list[Tokens], rendered: Rendered, bound: Bound) -> list[Fault]:
    """What is wrong with one row: name, words, and side of each fault."""
    found: list[Fault] = []
    for tokens, text, side in zip(sides, rendered.whole, SIDES[bound.objective], strict=True):
        told = [
            *_length_told(len(tokens.ids), bound),
            *prompt_told(row, rendered, text, bound.tokenizer),
            supervision_fault(tokens, row[side], bound.tokenizer, bound.base.ends),
        ]
        found += [(*fault, side) for fault in told if fault]
    return found


def _length_told(length: int, bound: Bound) -> Iterator[Told]:
    if length > bound.longest:
        words = f"{length} tokens, more than training.max_length {bound.longest}; raise it or filter long answers"
        yield "truncated", words
    if bound.base.positions is not None and length > bound.base.positions:
        words = f"{length} tokens, and the base has {bound.base.positions} positions (config.json): filter long rows"
        yield "beyond_positions", words


def supervision_fault(
    tokens: Tokens, answer: list[Message], tokenizer: "PreTrainedTokenizerBase", ends: Iterable[int] = ()
) -> Told | None:
    """What is wrong with the supervision of one answer: a name and words; None when it is the answer and its end.

    The tokenizer's end token ends an answer, and so does each of `ends`: some models end turns with another token.
    """
    end = tokenizer.eos_token
    if not any(label != IGNORED for label in tokens.labels):
        return "no_supervision", "no token is supervised"
    if tokenizer.bos_token_id is not None and tokens.ids[:2] == [tokenizer.bos_token_id] * 2:
        return "doubled_bos", f"starts with two {tokenizer.bos_token!r}"
    known = {tokenizer.eos_token_id, *ends}
    places = [place for place, token in enumerate(tokens.answer) if token in known]
    if not places:
        return "missing_eos", f"the end token {end!r} is not supervised, so the model would not learn to stop"

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    text = _unended(tokens.answer, known, decode)
    normal = _normaliser(tokenizer)

    def stands(part: str) -> bool:
        return part in text or normal(part) in normal(text)

    lost = next((thought for thought in thoughts(answer) if not stands(thought)), None)
    if lost is not None:
        return "reasoning_dropped", f"the chat template drops the answer's own reasoning: {lost[:60]!r}"
    # a turn's end may be followed by that of the text, and by nothing else
    ended = [tokens.answer[place] for place in places]
    between = decode([token for token in tokens.answer[places[0] : places[-1]] if token not in known])
    if len(set(ended)) < len(ended) or between.strip():
        words = f"the end token {decode(ended[:1])!r} is supervised {len(ended)} times; it ends the answer once"
        return "extra_eos", words
    call = lost_call(answer, stands)
    if call is not None:
        return "tool_call_dropped", f"the chat template drops the answer's tool call: {call}"
    content = content_of(answer[-1]).strip()
    calls = bool(answer[-1].get("tool_calls"))
    fault = _text_fault(text, content, calls)
    return fault and _text_fault(normal(text), normal(content), calls) and fault


def _unended(answer: list[int], ends: set[int], decode: Callable[[list[int]], str]) -> str:
    """The text of an answer without the tokens that end it."""
    text = decode(answer)
    for end in sorted(ends & set(answer)):
        text = text.replace(decode([end]), "")
    return text.strip()


def _normaliser(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], str]:
    """What the tokenizer does to a text before it cuts it into tokens, which no decoding takes back."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = getattr(backend, "normalizer", None)
    return (lambda text: str(normalizer.normalize_str(text)).strip(" \u2581")) if normalizer else (lambda text: text)


def _text_fault(text: str, content: str, calls: bool) -> Told | None:
    """Whether the supervised `text` is the answer's `content`, after reasoning that the template writes around it."""
    if calls:
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
