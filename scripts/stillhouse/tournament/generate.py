"""Answers a shard of prompts."""

import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from stillhouse.llm.requests import Request
from stillhouse.llm.running import feed
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import parquet_sink
from stillhouse.tournament.columns import SHARD, SHARD_ROWS, STOPPED
from stillhouse.tournament.dialogue import Dialogue
from stillhouse.tournament.engine import Contest
from stillhouse.tournament.settings import ShardSettings
from stillhouse.tournament.writing import Models, Outcome, StageError, Texts, Writer

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
    company: list[Row] | None = None,
    limit: int = 64,
    bearable: float = math.inf,
    retrying: bool = False,
    note: Callable[[], str] = str,
) -> Row:
    """Answer the prompts `rows` of one shard, at most `limit` beside each other, and write them to `target` as they come.

    Every prompt has `settings.samples` rows, one after the other. More than `bearable` failures end the asking: what is
    left is written as failed at stage `stopped`. `company` are the prompts of all shards: drafts that are decoded in
    batches are so over all of them, whichever shard they are in (None: over `rows`). `note` is shown beside the progress. Facts: numbers of prompts, of
    answered and failed rows, of rounds, and of votes that were not needed.
    """
    _draft_together(rows, rows if company is None else company, models, settings, texts)
    watch, told = Watch(bearable), Counter()
    samples, asked = range(settings.samples), settings.samples * len(rows)
    contests = (_answer(row, n, models, settings, texts, watch, retrying) for row in rows for n in samples)
    with parquet_sink(target, SHARD, SHARD_ROWS) as write:

        def keep(row: Row) -> None:
            told.update(failed=row["stage"] is not None, rounds=row["rounds"] or 0, saved=row.pop("saved", 0))
            write(row)

        where = f"{settings.generation} shard {settings.shard}"
        feed(contests, keep, limit, where, asked, lambda: f"{watch.rounds:,} rounds, {note()}")
    return {
        "prompts": len(rows),
        "answered": asked - told["failed"],
        "failed": told["failed"],
        "rounds": told["rounds"],
        "votes_saved": told["saved"],
    }


def _draft_together(rows: list[Row], company: list[Row], models: Models, settings: ShardSettings, texts: Texts) -> None:
    """Tell the teachers of `rows` that decode in batches what all drafts of `company` ask, in the order of the prompts.

    Only greedy drafts gain: a sampled one is decoded alone, by its own seed.
    """
    if settings.sampling.temperature > 0:
        return
    lists: dict[str, list[Request]] = {
        name: [] for name in dict.fromkeys(map(settings.teacher, rows)) if models[name].batch > 1
    }
    for row in company if lists else ():
        for sample in range(settings.samples if settings.teacher(row) in lists else 0):
            writer = Writer(row, models, settings, texts, sample)
            with suppress(StageError):  # told where the prompt is answered
                lists[writer.teacher].append(writer.draft_request())
    for teacher, requests in lists.items():
        models[teacher].decode_together(requests)


async def _answer(
    row: Row, sample: int, models: Models, settings: ShardSettings, texts: Texts, watch: Watch, retrying: bool
) -> Row:
    who = {"generation": settings.generation, "method": settings.method, "sample": sample}
    common = {**dict.fromkeys(SHARD.names), **row, **who}
    if watch.over:
        reason = f"not asked: {watch.failed} answers had failed, more than failures.max_share bears"
        return {**common, "stage": STOPPED, "reason": reason, "attempts": 0, "calls": []}
    way: Contest | Dialogue = (
        Dialogue(row, models, settings, texts, sample, retrying)
        if settings.method == "dialogue"
        else Contest(row, models, settings, texts, sample, retrying, watch.count_round)
    )
    common["model"] = way.teacher
    try:
        outcome = await way.run()
    except StageError as error:
        watch.failed += 1
        failure = {"stage": error.stage, "reason": error.reason, "attempts": error.attempts, "raw": error.raw}
        return {**common, **failure, "calls": way.calls}
    if texts.library is not None:
        common["context"] = canonical_json([passage.plain() for passage in way.passages])
    return {**common, **_told(outcome), "calls": way.calls}


def _told(outcome: Outcome) -> Row:
    """The columns of an answer; a dialogue's row has the whole conversation before it as its messages."""
    talk = {} if outcome.turns is None else {"turns": outcome.turns}
    messages = {} if outcome.messages is None else {"messages": canonical_json(outcome.messages)}
    return {
        **messages,
        "answer": outcome.answer,
        "reasoning": outcome.reasoning,
        "draft": outcome.draft,
        "truncated": outcome.truncated,
        "converged": outcome.converged,
        "rounds": len(outcome.rounds),
        "winners": [round_["winner"] for round_ in outcome.rounds],
        "transcript": canonical_json({"rounds": outcome.rounds, **talk}),
        "answer_call": outcome.answer_call,
        "saved": sum(round_.get("saved", 0) for round_ in outcome.rounds),
    }
