"""What goes through the stage: rows of answers in, examples for training out, and how both are ordered."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import InputError
from stillhouse.provenance.digests import digest_text
from stillhouse.provenance.files import read_parquet_rows

Message = dict[str, str]

PROMPT_COLUMNS = ["prompt_id", "set", "id", "messages"]
ANSWER_COLUMNS = [*PROMPT_COLUMNS, "category", "answer", "draft", "truncated", "converged", "transcript", "calls"]

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ANCESTRY = [("prompt_id", pa.string()), ("set", pa.string()), ("id", pa.string())]
ORIGIN = [*ANCESTRY, ("category", pa.string()), ("generation", pa.string())]
CALLS = ("calls", pa.list_(pa.string()))

SFT_SCHEMA = pa.schema([("prompt", MESSAGES), ("completion", MESSAGES), *ORIGIN, CALLS])
PREFERENCE_SCHEMA = pa.schema(
    [
        *[("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES), *ORIGIN, ("round", pa.int32())],
        *[("chosen_candidate", pa.string()), ("rejected_candidate", pa.string()), ("margin", pa.int32()), CALLS],
    ]
)
SCHEMAS = {"sft": SFT_SCHEMA, "preference": PREFERENCE_SCHEMA}
"""Columns of a dataset, by its format."""


@dataclass(frozen=True)
class Prompt:
    """A prompt by its identity and its text for comparing."""

    prompt_id: str
    set: str
    id: str
    messages: tuple[tuple[str, str], ...]

    @cached_property
    def text(self) -> str:
        """The whole conversation without system messages; for one turn simply the prompt."""
        return "\n".join(content for role, content in self.messages if role != "system")

    @cached_property
    def turns(self) -> tuple[str, ...]:
        """The conversation and each of the user's turns, without repeats."""
        asked = (content for role, content in self.messages if role == "user")
        return tuple(dict.fromkeys([self.text, *asked]))

    def chat(self) -> list[Message]:
        """The prompt's own messages as training formats take them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class Row:
    """One answered prompt of one source. `data` holds the columns of answers.parquet."""

    source: int
    generation: str
    prompt: Prompt
    data: dict[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[int, str, str, str, str]:
        """Total order over rows that does not know in which order they were read."""
        return (self.source, self.prompt.prompt_id, self.prompt.set, self.prompt.id, self.data["answer"])

    def ancestry(self) -> dict[str, Any]:
        """The columns by which a row of the dataset is traced back."""
        names = ("prompt_id", "set", "id", "category", "calls")
        return {**{name: self.data[name] for name in names}, "generation": self.generation}


@dataclass(frozen=True)
class Example:
    """One row of the dataset to be: its parquet columns, and its place among the rows of its prompt."""

    source: int
    prompt_id: str
    place: tuple[Any, ...]
    columns: dict[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[Any, ...]:
        """Source order, then prompt, then place."""
        return (self.source, self.prompt_id, self.place)


def rank(seed: int, purpose: str, prompt_id: str) -> str:
    """A prompt's place in a seeded shuffle. It depends on this prompt alone, so other rows never move it."""
    return digest_text(f"{seed}:{purpose}:{prompt_id}")


def read_rows(path: Path, source: int, generation: str) -> list[Row]:
    """Rows of an answers.parquet, sorted by prompt; raises `InputError` when it is missing or lacks columns."""
    rows = [Row(source, generation, _prompt(data, path), data) for data in _read(path, ANSWER_COLUMNS)]
    return sorted(rows, key=lambda row: row.key)


def read_failures(path: Path) -> list[str]:
    """The stage at which each prompt of a failures.parquet failed; raises `InputError` like `read_rows`."""
    return [str(data["stage"]) for data in _read(path, ["stage"])]


def read_prompts(paths: list[Path]) -> list[Prompt]:
    """Prompts of several prompt files, sorted by identity; raises `InputError` like `read_rows`."""
    prompts = {_prompt(data, path) for path in paths for data in _read(path, PROMPT_COLUMNS)}
    return sorted(prompts, key=lambda prompt: (prompt.prompt_id, prompt.set, prompt.id))


def _read(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        return read_parquet_rows(path, columns)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such parquet file") from None
    except (pa.ArrowInvalid, KeyError) as error:
        raise InputError(f"{path}: not a parquet file with the columns {', '.join(columns)}: {error}") from None


def _prompt(data: dict[str, Any], path: Path) -> Prompt:
    try:
        messages = tuple((message["role"], message["content"]) for message in json.loads(data["messages"]))
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: prompt {data['prompt_id']}: `messages` is no list of role and content") from None
    return Prompt(data["prompt_id"], data["set"], data["id"], messages)
