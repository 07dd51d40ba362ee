"""Answers a shard of prompts."""

import json
from pathlib import Path
from typing import Any

from stillhouse.llm.client import gather
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import write_parquet
from stillhouse.tournament.columns import SHARD
from stillhouse.tournament.engine import Contest, Models, StageError, Texts
from stillhouse.tournament.settings import ShardSettings


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
