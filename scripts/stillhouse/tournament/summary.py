"""What the rows of a generation say about it: rounds, winners, votes, length, calls. Read once, row by row.

Sums do not depend on the order of rows, and nothing is kept of a row but counts and a few ratios.
"""

import heapq
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillhouse.provenance.files import stream_parquet_rows
from stillhouse.study.base import Section
from stillhouse.tournament.tally import Row, Tally, is_first
from stillhouse.tournament.votes import Votes

FORMAT = 1
COUNTED = ["category", "answer", "draft", "truncated", "converged", "transcript", "calls", "sample"]
SHOWN = ["prompt_id", "id", "category", "prompt", "draft", "answer", "winners", "truncated", "sample"]
FAILED = ["category", "stage", "calls", "sample"]
NOTHING: Row = {"rounds": []}


class SummarySettings(Section):
    """What the report of a generation tells besides its rows."""

    study: str
    generation: str
    prompts: str
    method: str
    model: str
    roles: dict[str, str | list[str]]
    tournament: dict[str, int] | None
    external_judges: list[str]
    examples: int = 3


def summarise_generation(answers: Path, failures: Path, settings: SummarySettings) -> dict[str, Any]:
    """The figures of a generation, over all its prompts and by category.

    `answers` and `failures` are those of one generation. Examples are the first prompts by prompt_id, never chosen
    by outcome.
    """
    contest = settings.method == "tournament"
    whole, parts, judges = Tally(contest), {}, Votes()
    for row in stream_parquet_rows(answers, COUNTED):
        transcript = json.loads(row["transcript"]) if row["transcript"] else NOTHING
        for tally in (whole, _part(parts, row["category"], contest)):
            tally.add(row, transcript)
        judges.add(transcript["rounds"])
    for row in stream_parquet_rows(failures, FAILED):
        for tally in (whole, _part(parts, row["category"], contest)):
            tally.fail(row)
    names = sorted(parts, key=lambda name: (name is None, name or ""))
    return {
        "format": FORMAT,
        **settings.model_dump(exclude={"examples"}),
        "all": whole.plain(),
        "categories": [{"category": name, **parts[name].plain()} for name in names],
        "judges": judges.plain() if contest else {},
        "examples": _examples(stream_parquet_rows(answers, SHOWN), settings.examples),
    }


def _part(parts: dict[str | None, Tally], category: str | None, contest: bool) -> Tally:
    return parts.setdefault(category, Tally(contest))


def _examples(rows: Iterable[Row], count: int) -> list[Row]:
    """Draft and answer of the first prompts by prompt_id, one sample of each."""
    firsts = ({name: value for name, value in row.items() if name != "sample"} for row in rows if is_first(row))
    return heapq.nsmallest(count, firsts, key=lambda row: row["prompt_id"])
