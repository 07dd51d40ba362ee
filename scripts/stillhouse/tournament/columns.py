"""The columns of shards, answers and failures."""

from typing import Any

import pyarrow as pa

ANSWERS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("set", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("prompt", pa.string()),
        ("messages", pa.string()),
        ("metadata", pa.string()),
        ("generation", pa.string()),
        ("method", pa.string()),
        ("model", pa.string()),
        ("answer", pa.string()),
        ("reasoning", pa.string()),
        ("draft", pa.string()),
        ("truncated", pa.bool_()),
        ("converged", pa.bool_()),
        ("rounds", pa.int32()),
        ("winners", pa.list_(pa.string())),
        ("transcript", pa.string()),
        ("calls", pa.list_(pa.string())),
        ("answer_call", pa.string()),
        ("sample", pa.int32()),
        ("tools", pa.string()),
        ("context", pa.string()),
    ]
)
"""One row an answer: `sample` counts those to one prompt from 0, `context` is a JSON list of passages."""

FAILURES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("set", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("prompt", pa.string()),
        ("generation", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("attempts", pa.int32()),
        ("raw", pa.string()),
        ("calls", pa.list_(pa.string())),
        ("sample", pa.int32()),
    ]
)

FAILURE_FIELDS = ("stage", "reason", "attempts", "raw")
SHARD = pa.schema([*ANSWERS, *(FAILURES.field(name) for name in FAILURE_FIELDS)])
"""A shard holds answered and failed prompts; `stage` is null where a prompt was answered."""

STOPPED = "stopped"
"""Stage of a prompt that was not asked, because too many others of its shard had failed."""

SHARD_ROWS = 32
"""Rows that are written and read at once: some hundred kilobytes of transcripts."""


def place_of(row: dict[str, Any]) -> tuple[str, str, str, int]:
    """What rows are sorted by, in shards and merged; files of before samples have none, which is sample 0."""
    return row["prompt_id"], row["set"], row["id"], row.get("sample") or 0
