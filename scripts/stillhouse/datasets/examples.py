"""What a training format is: the columns it writes, those it reads of the answers, and how a row becomes examples."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from stillhouse.datasets.filters.base import RowFilter
from stillhouse.datasets.filters.reach import TextChecks
from stillhouse.datasets.messages import PLAIN, RICH, parse, rich_array
from stillhouse.errors import InputError
from stillhouse.study.datasets import Dataset

if TYPE_CHECKING:
    import numpy as np

    from stillhouse.datasets.batches import Batch

Answer = Mapping[str, Any]
"""A row of answers.parquet; `messages`, `transcript` and `tools` are the file's JSON text."""

Example = dict[str, Any]

OtherAnswers = Mapping[str, Mapping[tuple[str, int], str]]
"""Generation -> (prompt_id, sample) -> answer."""

ANCESTRY = (
    *(pa.field(name, pa.string()) for name in ("prompt_id", "set", "id", "category", "generation")),
    *(pa.field(name, pa.int32()) for name in ("sample", "copy")),
    pa.field("calls", pa.list_(pa.string())),
)
"""The columns by which a row of a dataset is traced back; `copy` counts the repeats of a row from 0."""

TOOLS = pa.field("tools", pa.string())
"""Descriptions of the tools that a prompt offers, as JSON text: TRL parses it. Null where there are none."""


class Made(NamedTuple):
    """What one row gave: examples without their ancestry, and what was looked at but dropped, by reason.

    `considered` = number of examples + everything in `dropped`. `judged` holds the two sides of every pair that a panel
    told apart, taught or not: no other row of the prompt may teach the opposite.
    """

    examples: list[Example]
    dropped: Counter[str]
    considered: int
    judged: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class FormatContext:
    """What a format is told beside the row: the dataset's section, and other models' answers to the same prompts.

    `filters` are those of every source; `checks` are those of the row's own, for texts that are not its final answer.
    """

    settings: Dataset
    others: OtherAnswers = field(default_factory=dict)
    filters: Sequence[Sequence[RowFilter]] = ()
    checks: TextChecks = field(default_factory=TextChecks)

    def of_source(self, number: int) -> "FormatContext":
        """The same for rows of one source."""
        return replace(self, checks=TextChecks.of(self.filters[number])) if self.filters else self


@dataclass(frozen=True)
class Format:
    """One training format.

    `turns` are its columns with messages, `facts` its other columns; `columns` is what it reads of answers.parquet
    beside the ancestry. A row that gives no example is dropped with the reason `without`. `unit` is what its examples
    are called. `table` does many rows at once: the `turns` and `facts` of the rows at the given places of a batch, one
    example a row, or None where that batch must go row by row. `rich_turns` are the turns that may hold more than role
    and content; `calls` tells whether any answer of a batch becomes such a turn.
    """

    name: Literal["sft", "reasoning", "preference", "critic"]
    turns: tuple[str, ...]
    facts: tuple[pa.Field, ...]
    columns: tuple[str, ...]
    without: str
    unit: str
    examples: Callable[[Answer, FormatContext], Made]
    table: "Callable[[Batch, np.ndarray], dict[str, pa.Array] | None] | None" = None
    rich_turns: tuple[str, ...] = ("prompt",)
    calls: "Callable[[Batch], bool]" = lambda _: False

    def schema(self, rich: bool = False) -> pa.Schema:
        """Columns of a dataset's files; `rich` where any message holds more than role and content."""
        kinds = dict.fromkeys(self.rich_turns, RICH) if rich else {}
        return pa.schema([*(pa.field(name, kinds.get(name, PLAIN)) for name in self.turns), *self.facts, *ANCESTRY])


def asked(row: Answer) -> Example:
    """What all examples of a row begin with, the conversation and its tools; raises `InputError` naming the prompt."""
    prompt = row.get("prompt_id", "?")
    return {"prompt": parse(row["messages"], prompt), "tools": _tools(row.get("tools"), prompt)}


def _tools(told: str | None, prompt: str) -> str | None:
    """A row's tools, checked; an empty list of them is none, since some chat templates would announce it."""
    try:
        tools = json.loads(told or "null") or []
    except ValueError:
        tools = None
    if not isinstance(tools, list) or not all(isinstance(one, dict) for one in tools):
        raise InputError(f"prompt {prompt}: `tools` is no JSON list of descriptions")
    return told if tools else None


def rounds_of(row: Answer) -> list[dict[str, Any]]:
    """The rounds of a row's tournament, none where there was none; raises `InputError` for a damaged transcript."""
    try:
        rounds = json.loads(row["transcript"] or "{}").get("rounds", [])
        sound = all(map(_is_round, rounds))
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise InputError(f"prompt {row.get('prompt_id', '?')}: its transcript is not as a tournament writes it")
    return rounds


def is_unread(one: Mapping[str, Any]) -> bool:
    """Whether half or more of a round's votes could not be read, so that A stayed and nothing was decided."""
    votes = one.get("votes") or []
    return bool(votes) and 2 * sum(bool(vote.get("ranking")) for vote in votes) <= len(votes)


def _is_round(one: dict[str, Any]) -> bool:
    texts = one["candidates"]
    told = isinstance(one["round"], int) and isinstance(one["critique"], str) and isinstance(one["no_flaws"], bool)
    points = all(isinstance(value, int | float) for value in one["borda"].values())
    sides = one["winner"] in texts and "A" in texts and all(isinstance(text, str) for text in texts.values())
    return told and points and sides and all(isinstance(vote, dict) for vote in one.get("votes") or [])


def table_of(rows: list[Example], schema: pa.Schema) -> pa.Table:
    """Rows of a dataset as a table of either schema that `Format.schema` gives."""
    arrays = []
    for column in schema:
        values = [row[column.name] for row in rows]
        arrays.append(rich_array(values) if column.type == RICH else pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)
