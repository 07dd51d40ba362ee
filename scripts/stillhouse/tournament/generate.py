"""Answers a shard of prompts, and merges a generation's shards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import FailureShareError
from stillhouse.llm.client import gather
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.tournament.engine import Contest, Models, StageError, Texts
from stillhouse.tournament.settings import MergeSettings, ShardSettings

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
    ]
)

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
    ]
)

FAILURE_FIELDS = ("stage", "reason", "attempts", "raw")
SHARD = pa.schema([*ANSWERS, *(FAILURES.field(name) for name in FAILURE_FIELDS)])
"""A shard holds answered and failed prompts; `stage` is null where a prompt was answered."""


def answer_shard(
    rows: list[dict[str, Any]], models: Models, settings: ShardSettings, texts: Texts, target: Path, limit: int = 64
) -> dict[str, Any]:
    """Answer the prompts `rows` of one shard and write them to `target`; at most `limit` prompts at once.

    Facts: numbers of answered and failed prompts and of rounds.
    """
    contests = (_answer(row, models, settings, texts) for row in rows)
    answered = gather(contests, limit, f"{settings.generation} shard {settings.shard}", total=len(rows))
    write_parquet(target, answered, SHARD)
    failed = sum(row["stage"] is not None for row in answered)
    return {
        "prompts": len(rows),
        "answered": len(rows) - failed,
        "failed": failed,
        "rounds": sum(row["rounds"] or 0 for row in answered),
    }


async def _answer(row: dict[str, Any], models: Models, settings: ShardSettings, texts: Texts) -> dict[str, Any]:
    contest = Contest(row, json.loads(row["messages"]), models, settings, texts)
    common = {**row, "generation": settings.generation, "method": settings.method}
    empty = dict.fromkeys(SHARD.names)
    try:
        outcome = await contest.run()
    except StageError as error:
        failure = {"stage": error.stage, "reason": error.reason, "attempts": error.attempts, "raw": error.raw}
        return {**empty, **common, **failure, "calls": contest.calls}
    return {
        **empty,
        **common,
        "answer": outcome.answer,
        "reasoning": outcome.reasoning,
        "draft": outcome.draft,
        "truncated": outcome.truncated,
        "converged": outcome.converged,
        "rounds": len(outcome.rounds),
        "winners": [round_["winner"] for round_ in outcome.rounds],
        "transcript": canonical_json({"rounds": outcome.rounds}),
        "calls": contest.calls,
        "answer_call": outcome.answer_call,
    }


def merge_shards(shards: list[Path], settings: MergeSettings, answers: Path, failures: Path) -> dict[str, Any]:
    """Join shards, sorted by prompt_id, into `answers` and `failures`.

    Raises `FailureShareError` when too many failed; `failures` is written before that, so that the reasons
    can be read.
    """
    rows = sorted((row for shard in shards for row in read_parquet_rows(shard)), key=lambda row: row["prompt_id"])
    failed = [row for row in rows if row["stage"] is not None]
    answered = [row for row in rows if row["stage"] is None]
    write_parquet(failures, list(_only(failed, FAILURES)), FAILURES)
    write_parquet(answers, list(_only(answered, ANSWERS)), ANSWERS)
    share = len(failed) / len(rows) if rows else 0.0
    kept = failures.with_name(f"refused-{failures.name}")
    kept.unlink(missing_ok=True)
    if share > settings.failures.max_share:
        write_parquet(kept, list(_only(failed, FAILURES)), FAILURES)
        raise FailureShareError(
            f"generation {settings.generation}: {len(failed)} of {len(rows)} prompts failed, more than "
            f"failures.max_share {settings.failures.max_share:g} allows; first: {failed[0]['id']}: "
            f"{failed[0]['stage']}: {failed[0]['reason']}; all of them: {kept}"
        )
    return {"prompts": len(rows), "answered": len(answered), "failed": len(failed)}


def remove_stale(shards: list[Path]) -> None:
    """Remove shard files of an earlier, larger number of shards, with their records."""
    current = {shard.name for shard in shards}
    for file in shards[0].parent.glob("*.parquet"):
        if file.name not in current and file.stem.isdigit():
            file.with_name(f"{file.name}.record.json").unlink(missing_ok=True)
            file.unlink()


def _only(rows: list[dict[str, Any]], schema: pa.Schema) -> Iterator[dict[str, Any]]:
    return ({name: row[name] for name in schema.names} for row in rows)
