"""Rows of a dataset as training reads them: conversations with only the keys that their messages have."""

import json
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_json
from stillhouse.provenance.files import stream_parquet_rows

Row = dict[str, Any]
Message = dict[str, Any]

SIDES = {"sft": ("completion",), "dpo": ("chosen", "rejected"), "orpo": ("chosen", "rejected")}
"""The columns with answers, by objective."""


def read_rows(file: Path, objective: str) -> list[Row]:
    """The rows of a split: `prompt` and answers as lists of messages, `tools` parsed where there are any, and identity.

    Messages come as structs or, where some hold more than role and content, each as JSON. A key without a value is
    one that the message does not have: chat templates ask whether a key is there.
    """
    import pyarrow.parquet as pq

    wanted = ("prompt", *SIDES[objective], "tools", "prompt_id", "id")
    there = set(pq.read_schema(file).names)
    rows = list(stream_parquet_rows(file, [name for name in wanted if name in there]))
    for row in rows:
        for name in ("prompt", *SIDES[objective]):
            row[name] = [_message(message) for message in row[name] or []]
        if isinstance(row.get("tools"), str):
            row["tools"] = json.loads(row["tools"]) if row["tools"].strip() else None
    return rows


def learned_digest(rows: list[Row], objective: str) -> str:
    """The sha256 of what is learned from `rows`: their texts and tools, and not their ancestry."""
    learned = ("prompt", *SIDES[objective], "tools")
    return digest_json([{key: row[key] for key in learned if row.get(key)} for row in rows])


def _message(message: Any) -> Message:
    found = json.loads(message) if isinstance(message, str) else message
    return {key: value for key, value in found.items() if value is not None}
