"""Prompts by their identity and text, and the small files that are read as a whole."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.datasets.batches import content_of, turns_of
from stillhouse.errors import InputError
from stillhouse.provenance.files import read_parquet_rows

PROMPT_COLUMNS = ["prompt_id", "set", "id", "messages"]


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
        return self.turns[0]

    @cached_property
    def turns(self) -> tuple[str, ...]:
        """The conversation and each of the user's turns, without repeats."""
        return turns_of(self.messages)


def read_failures(path: Path) -> list[str]:
    """The stage at which each prompt of a failures.parquet failed; raises `InputError` like `read_prompts`."""
    return [str(data["stage"]) for data in _read(path, ["stage"])]


def read_prompts(paths: list[Path]) -> list[Prompt]:
    """Prompts of several prompt files, sorted by identity.

    Raises `InputError` when a file is missing, is no parquet file, lacks columns, or holds messages that are none.
    """
    prompts = {_prompt(data, path) for path in paths for data in _read(path, PROMPT_COLUMNS)}
    return sorted(prompts, key=lambda prompt: (prompt.prompt_id, prompt.set, prompt.id))


def read_others(path: Path) -> dict[tuple[str, int], str]:
    """Answers of another model by prompt_id and sample; raises `InputError` like `read_prompts`."""
    try:
        rows = _read(path, ["prompt_id", "sample", "answer"])
    except InputError:
        rows = _read(path, ["prompt_id", "answer"])  # a file from before there were samples
    return {(row["prompt_id"], row.get("sample") or 0): row["answer"] or "" for row in rows}


def _read(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        return read_parquet_rows(path, columns)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such parquet file") from None
    except (pa.ArrowInvalid, KeyError) as error:
        raise InputError(f"{path}: not a parquet file with the columns {', '.join(columns)}: {error}") from None


def _prompt(data: dict[str, Any], path: Path) -> Prompt:
    try:
        messages = tuple((one["role"], content_of(one.get("content"))) for one in json.loads(data["messages"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: prompt {data['prompt_id']}: `messages` is no list of role and content") from None
    return Prompt(data["prompt_id"], data["set"], data["id"], messages)
