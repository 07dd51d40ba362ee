"""Rubric judging: every answer by every judge, as often as the study asks."""

from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.asking import CALL_FAILED, Question, ask_judge, check_failed, read_template
from stillhouse.evaluation.rows import Row, read_responses, to_judge
from stillhouse.evaluation.rubric_file import Rubric, load_rubric
from stillhouse.evaluation.settings import RubricSettings
from stillhouse.evaluation.verdicts import RubricVerdict, read_verdict
from stillhouse.llm.client import Client
from stillhouse.llm.running import gather
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import write_parquet

TEMPLATE = Path("data/judging/rubric.j2")

RUBRIC = pa.schema(
    [
        ("subject", pa.string()),
        ("condition", pa.string()),
        ("set", pa.string()),
        ("prompt_id", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("judge", pa.string()),
        ("repeat", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("components", pa.string()),
        ("overall", pa.float64()),
        ("judge_overall", pa.float64()),
        ("critical_failures", pa.list_(pa.string())),
        ("raw", pa.string()),
        ("calls", pa.list_(pa.string())),
    ]
)
KEPT = ("subject", "condition", "set", "prompt_id", "id", "category", "difficulty")


def judge_rubric(
    responses: list[Path],
    clients: Mapping[str, Client],
    rubric: Path,
    settings: RubricSettings,
    target: Path,
    template: Path = TEMPLATE,
) -> dict[str, Any]:
    """Write one row a verdict to `target`: scored with components and overall, or unscored with the reason.

    `clients` holds the judges by name. Facts: numbers of verdicts, of unscored ones and of second chances.
    Raises `InputError` for a bad rubric or template, `EvaluationError` when a judge is out of order.
    """
    known, text = load_rubric(rubric), read_template(template)
    rows = to_judge(read_responses(responses), settings.subjects, settings.limit)
    tasks = [
        _judge(row, clients[judge], repeat, known, settings, text)
        for row in rows
        for judge in sorted(set(settings.judges))
        for repeat in range(settings.repeats)
    ]
    verdicts = gather(tasks, description="rubric verdicts", total=len(tasks))
    failed = [row["judge"] for row in verdicts if row["reason"] == CALL_FAILED]
    check_failed([row["judge"] for row in verdicts], failed)
    write_parquet(target, verdicts, RUBRIC)
    return {
        "failed": len(failed),
        "verdicts": len(verdicts),
        "unscored": sum(row["status"] == "unscored" for row in verdicts),
        "second_chances": sum(len(row["calls"]) > 1 for row in verdicts),
    }


def _judge(
    row: Row, client: Client, repeat: int, rubric: Rubric, settings: RubricSettings, template: str
) -> Coroutine[Any, Any, Row]:
    question = Question(
        rubric.messages(row["prompt"], row["answer"], template),
        settings.sampling,
        ("rubric", row["prompt_id"], client.name, repeat),
        rubric.grammar if client.grammars else None,
    )
    return _verdict(row, client, repeat, question, rubric)


async def _verdict(row: Row, client: Client, repeat: int, question: Question, rubric: Rubric) -> Row:
    asked = await ask_judge(client, question, lambda call: read_verdict(call, rubric), RubricVerdict)
    verdict = asked.verdict
    return {
        **{name: row[name] for name in KEPT},
        "judge": client.name,
        "repeat": repeat,
        "status": "scored" if verdict.reason is None else "unscored",
        "reason": verdict.reason,
        "components": canonical_json(verdict.components),
        "overall": verdict.overall,
        "judge_overall": verdict.judge_overall,
        "critical_failures": verdict.critical_failures,
        "raw": asked.raw,
        "calls": asked.calls,
    }
