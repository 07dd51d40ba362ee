"""Reads responses, and picks those that are judged."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import EvaluationError
from stillhouse.provenance.files import read_parquet_rows

Row = dict[str, Any]

ABOUT = {
    "subject": pa.string(),
    "condition": pa.string(),
    "set": pa.string(),
    "role": pa.string(),
    "prompt_id": pa.string(),
    "id": pa.string(),
    "category": pa.string(),
    "difficulty": pa.string(),
    "sample": pa.int32(),
}
"""Columns, with their types, by which every judgement tells what answer it is about."""


def about(row: Row) -> Row:
    """What a judgement of the answer `row` carries in the columns `ABOUT`."""
    return {name: row[name] for name in ABOUT}


def read_responses(files: Iterable[Path]) -> list[Row]:
    """Rows of all `files`, sorted by subject, set, prompt_id and sample.

    Raises `EvaluationError` when two answers have the same place.
    """
    rows = [row for file in files for row in read_parquet_rows(file)]
    rows.sort(key=key)
    for before, after in itertools.pairwise(rows):
        if key(before) == key(after):
            subject, name, _, _ = key(after)
            raise EvaluationError(f"subject {subject} has two answers to prompt {after['id']} of set {name}")
    return rows


def key(row: Row) -> tuple[str, str, str, int]:
    """What tells an answer apart: subject, set, prompt_id, sample."""
    return row["subject"], row["set"], row["prompt_id"], row["sample"]


def to_judge(rows: list[Row], subjects: Iterable[str], limit: int | None) -> list[Row]:
    """Rows of `subjects` on target sets; with `limit`, on the first prompts of each set by prompt_id.

    Raises `EvaluationError` when one of `subjects` has no response on a target set.
    """
    wanted = set(subjects)
    targets = [row for row in rows if row["role"] == "target"]
    missing = sorted(wanted - {row["subject"] for row in targets})
    if missing:
        raise EvaluationError(f"subjects to judge without a response on a target set: {', '.join(missing)}")
    kept = _first_prompts(targets, limit)
    return [row for row in targets if row["subject"] in wanted and (row["set"], row["prompt_id"]) in kept]


def _first_prompts(rows: list[Row], limit: int | None) -> set[tuple[str, str]]:
    """(set, prompt_id) of the first `limit` prompts of each set, over all subjects, so that all get the same."""
    kept: set[tuple[str, str]] = set()
    for name in {row["set"] for row in rows}:
        prompts = sorted({row["prompt_id"] for row in rows if row["set"] == name})
        kept.update((name, prompt) for prompt in prompts[:limit])
    return kept
