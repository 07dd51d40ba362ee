"""Rubric judging: every answer by every judge, as often as the study asks, and recorded judgements beside them."""

from collections import defaultdict
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.asking import CALL_FAILED, Question, ask_judge, check_failed, read_template
from stillhouse.evaluation.recorded_judgements import read_recorded
from stillhouse.evaluation.replies import storable
from stillhouse.evaluation.rows import ABOUT, Row, read_responses, to_judge
from stillhouse.evaluation.rubric_file import Rubric, load_rubric
from stillhouse.evaluation.settings import RubricSettings
from stillhouse.evaluation.verdicts import RubricVerdict, read_verdict
from stillhouse.llm.client import Client
from stillhouse.llm.running import gather
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import write_parquet

TEMPLATE = Path("data/judging/rubric.j2")

KEPT = {name: kind for name, kind in ABOUT.items() if name != "role"}
"""Recorded judgements of subjects without answers have no role."""
RUBRIC = pa.schema(
    [
        *KEPT.items(),
        ("judge", pa.string()),
        ("repeat", pa.int32()),
        ("source", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("components", pa.string()),
        ("overall", pa.float64()),
        ("judge_overall", pa.float64()),
        ("recorded_overall", pa.float64()),
        ("critical_failures", pa.list_(pa.string())),
        ("raw", pa.string()),
        ("calls", pa.list_(pa.string())),
    ]
)


def judge_rubric(
    responses: list[Path],
    clients: Mapping[str, Client],
    rubric: Path,
    settings: RubricSettings,
    target: Path,
    template: Path = TEMPLATE,
    recorded: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write one row a verdict to `target`: scored with components and overall, or unscored with the reason.

    `clients` holds the judges by name, `recorded` files of judgements by subject. Facts: numbers of verdicts, of
    recorded ones, of unscored ones, of second chances and of failed calls. Raises `InputError` for a bad rubric,
    template or recorded file, `EvaluationError` when a judge is out of order.
    """
    known, answers = load_rubric(rubric), read_responses(responses)
    live = _judge_all(answers, clients, known, settings, read_template(template)) if settings.judges else []
    failed = [row["judge"] for row in live if row["reason"] == CALL_FAILED]
    check_failed([row["judge"] for row in live], failed)
    published = _recorded(recorded or {}, answers, known)
    verdicts = sorted([*live, *published], key=_place)
    write_parquet(target, verdicts, RUBRIC)
    return {
        "failed": len(failed),
        "verdicts": len(verdicts),
        "recorded": len(published),
        "unscored": sum(row["status"] == "unscored" for row in verdicts),
        "second_chances": sum(len(row["calls"]) > 1 for row in verdicts),
    }


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("subject", "set", "prompt_id", "sample", "judge", "repeat", "source"))


def _recorded(files: Mapping[str, Path], answers: list[Row], rubric: Rubric) -> list[Row]:
    by_subject: dict[str, list[Row]] = defaultdict(list)
    for row in answers:
        by_subject[row["subject"]].append(row)
    return [row for name, file in sorted(files.items()) for row in read_recorded(file, name, by_subject[name], rubric)]


def _judge_all(
    answers: list[Row], clients: Mapping[str, Client], rubric: Rubric, settings: RubricSettings, template: str
) -> list[Row]:
    tasks = [
        _judge(row, clients[judge], repeat, rubric, settings, template)
        for row in to_judge(answers, settings.subjects, settings.limit)
        for judge in sorted(set(settings.judges))
        for repeat in range(settings.repeats)
    ]
    return gather(tasks, description="rubric verdicts", total=len(tasks))


def _judge(
    row: Row, client: Client, repeat: int, rubric: Rubric, settings: RubricSettings, template: str
) -> Coroutine[Any, Any, Row]:
    # the seeds of first samples are those that they have always had, so that no verdict is paid for again
    seed_parts = ("rubric", row["prompt_id"], client.name, repeat)
    question = Question(
        rubric.messages(row["prompt"], row["answer"], template, row["signal"]),
        settings.sampling,
        (*seed_parts, row["sample"]) if row["sample"] else seed_parts,
        rubric.grammar if client.grammars else None,
    )
    return _verdict(row, client, repeat, question, rubric)


async def _verdict(row: Row, client: Client, repeat: int, question: Question, rubric: Rubric) -> Row:
    asked = await ask_judge(client, question, lambda call: read_verdict(call, rubric), RubricVerdict)
    verdict = asked.verdict
    return {
        **{name: row[name] for name in KEPT},
        "sample": row["sample"],
        "judge": client.name,
        "repeat": repeat,
        "source": "live",
        "status": "scored" if verdict.reason is None else "unscored",
        "reason": verdict.reason,
        "components": canonical_json(verdict.components),
        "overall": verdict.overall,
        "judge_overall": verdict.judge_overall,
        "recorded_overall": None,
        "critical_failures": verdict.critical_failures,
        "raw": storable(asked.raw),
        "calls": asked.calls,
    }
