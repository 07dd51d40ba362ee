"""Character breaks: answers that fall out of their role, by patterns and by judges who are asked."""

import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.asking import CALL_FAILED, Question, ask_judge, check_failed, read_template, render
from stillhouse.evaluation.replies import storable, without_reasoning
from stillhouse.evaluation.rows import ABOUT, Row, about, read_responses, to_judge
from stillhouse.evaluation.settings import BreakSettings
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call
from stillhouse.llm.running import gather
from stillhouse.provenance.files import write_parquet
from stillhouse.study.markers import Markers, load_markers

TEMPLATE = Path("data/judging/break.j2")
GRAMMAR = 'root ::= "BREAK: " ("YES" | "NO")\n'

BREAKS = pa.schema(
    [
        *ABOUT.items(),
        ("judge", pa.string()),
        ("broken", pa.bool_()),
        ("matched", pa.list_(pa.string())),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("calls", pa.list_(pa.string())),
    ]
)

_KEY = re.compile(r"(?<![\w-])break\W{0,6}[:=]", re.IGNORECASE)
_WORD = re.compile(r"\W*(yes|no)\b(?!\s*(?:[/|&]|or\b|and\b))", re.IGNORECASE)


@dataclass(frozen=True)
class BreakVerdict:
    """Whether an answer breaks character; `reason` says why that is not known."""

    reason: str | None = None
    broken: bool | None = None


def read_break(call: Call) -> BreakVerdict:
    """The yes or no in a reply: after `BREAK:`, else its first word. Truncated, none, or both: a reason and no verdict."""
    if call.truncated:
        return BreakVerdict("truncated: the reply reached max_tokens")
    text = without_reasoning(call.text)
    places = [key.end() for key in _KEY.finditer(text)] or [0]
    told = {found[1].upper() for place in places if (found := _WORD.match(text, place))}
    if len(told) != 1:
        return BreakVerdict("unclear: both yes and no" if told else "unclear: neither yes nor no")
    return BreakVerdict(None, told == {"YES"})


def find_breaks(
    responses: list[Path],
    patterns: Path,
    clients: Mapping[str, Client],
    settings: BreakSettings,
    target: Path,
    template: Path = TEMPLATE,
) -> dict[str, Any]:
    """Write to `target` one row an answer for the patterns (judge null), and one an answer and judge.

    `patterns` is a markers file; any hit is a break. Judges, in `clients` by name, are asked about target sets alone,
    with `limit` about their first prompts. Facts: answers, those that break by the patterns, judges' verdicts,
    unscored and failed ones. Raises `InputError` for a bad patterns file or template, `EvaluationError` when a judge
    is out.
    """
    known, rows, text = load_markers(patterns), read_responses(responses), read_template(template)
    found = [_matched(row, known) for row in rows]
    told = _ask(rows, [clients[judge] for judge in sorted(set(settings.judges))], settings, text)
    failed = [row["judge"] for row in told if row["reason"] == CALL_FAILED]
    check_failed([row["judge"] for row in told], failed)
    write_parquet(target, sorted([*found, *told], key=_place), BREAKS)
    return {
        "answers": len(found),
        "broken": sum(row["broken"] for row in found),
        "verdicts": len(told),
        "unscored": sum(row["broken"] is None for row in told),
        "failed": len(failed),
    }


def _place(row: Row) -> tuple[Any, ...]:
    return row["subject"], row["set"], row["prompt_id"], row["sample"], row["judge"] or ""


def _matched(row: Row, patterns: Markers) -> Row:
    matched = patterns.hits(row["answer"])
    return {**_row(row), "judge": None, "broken": bool(matched), "matched": matched}


def _row(row: Row) -> Row:
    return {**about(row), "matched": [], "reason": None, "raw": None, "calls": []}


def _ask(rows: list[Row], judges: list[Client], settings: BreakSettings, template: str) -> list[Row]:
    subjects = {row["subject"] for row in rows if row["role"] == "target"}
    asked = [(row, judge) for row in to_judge(rows, subjects, settings.limit) for judge in judges]
    tasks = (_verdict(row, judge, settings, template) for row, judge in asked)
    return gather(tasks, description="break verdicts", total=len(asked))


def _verdict(row: Row, client: Client, settings: BreakSettings, template: str) -> Coroutine[Any, Any, Row]:
    question = Question(
        render(template, "break.j2", prompt=row["prompt"], answer=row["answer"]),
        settings.sampling,
        ("break", row["prompt_id"], client.name, row["sample"]),
        GRAMMAR if client.grammars else None,
    )
    return _judge(row, client, question)


async def _judge(row: Row, client: Client, question: Question) -> Row:
    asked = await ask_judge(client, question, read_break, BreakVerdict)
    told = {"broken": asked.verdict.broken, "reason": asked.verdict.reason, "raw": storable(asked.raw)}
    return {**_row(row), "judge": client.name, **told, "calls": asked.calls}
