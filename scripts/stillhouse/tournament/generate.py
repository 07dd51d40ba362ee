"""Answers a shard of prompts."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillhouse.llm.running import feed
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import parquet_sink
from stillhouse.tournament.columns import SHARD, SHARD_ROWS, STOPPED
from stillhouse.tournament.engine import Contest, Models, StageError, Texts
from stillhouse.tournament.settings import ShardSettings

Row = dict[str, Any]


class Watch:
    """What has happened in a shard so far; beyond `bearable` failed prompts no further one is asked."""

    def __init__(self, bearable: float) -> None:
        self.bearable, self.failed, self.rounds = bearable, 0, 0

    @property
    def over(self) -> bool:
        """Whether to stop asking, since the generation is refused anyway."""
        return self.failed > self.bearable

    def count_round(self) -> None:
        """One round more has ended."""
        self.rounds += 1


def answer_shard(
    rows: list[Row],
    models: Models,
    settings: ShardSettings,
    texts: Texts,
    target: Path,
    *,
    limit: int = 64,
    bearable: float = math.inf,
    retrying: bool = False,
    note: Callable[[], str] = str,
) -> Row:
    """Answer the prompts `rows` of one shard, at most `limit` beside each other, and write them to `target` as they come.

    More than `bearable` failures end the asking: what is left is written as failed at stage `stopped`. `note` is shown
    beside the progress. Facts: numbers of answered and failed prompts, of rounds, and of votes that were not needed.
    """
    watch, told = Watch(bearable), Counter()
    contests = (_answer(row, models, settings, texts, watch, retrying) for row in rows)
    with parquet_sink(target, SHARD, SHARD_ROWS) as write:

        def keep(row: Row) -> None:
            told.update(failed=row["stage"] is not None, rounds=row["rounds"] or 0, saved=row.pop("saved", 0))
            write(row)

        where = f"{settings.generation} shard {settings.shard}"
        feed(contests, keep, limit, where, len(rows), lambda: f"{watch.rounds:,} rounds, {note()}")
    return {
        "prompts": len(rows),
        "answered": len(rows) - told["failed"],
        "failed": told["failed"],
        "rounds": told["rounds"],
        "votes_saved": told["saved"],
    }


async def _answer(row: Row, models: Models, settings: ShardSettings, texts: Texts, watch: Watch, retrying: bool) -> Row:
    common = {**dict.fromkeys(SHARD.names), **row, "generation": settings.generation, "method": settings.method}
    if watch.over:
        reason = f"not asked: {watch.failed} prompts had failed, more than failures.max_share bears"
        return {**common, "stage": STOPPED, "reason": reason, "attempts": 0, "calls": []}
    contest = Contest(row, json.loads(row["messages"]), models, settings, texts, retrying, watch.count_round)
    common["model"] = contest.teacher
    try:
        outcome = await contest.run()
    except StageError as error:
        watch.failed += 1
        failure = {"stage": error.stage, "reason": error.reason, "attempts": error.attempts, "raw": error.raw}
        return {**common, **failure, "calls": contest.calls}
    return {
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
        "saved": sum(round_.get("saved", 0) for round_ in outcome.rounds),
    }
