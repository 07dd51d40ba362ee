"""Rows of answers and judgements, one at a time, for tests that need a few with known numbers."""

import json
from pathlib import Path
from typing import Any

from stillhouse.evaluation.breaks import BREAKS
from stillhouse.evaluation.checks import CHECKS
from stillhouse.evaluation.markers import MARKERS
from stillhouse.evaluation.pairwise import PAIRWISE
from stillhouse.evaluation.report_settings import ReportSettings
from stillhouse.evaluation.respond import RESPONSES
from stillhouse.evaluation.rubric import RUBRIC
from stillhouse.evaluation.summary import build_report, summarise
from stillhouse.evaluation.summary_evidence import Evidence
from stillhouse.provenance.files import write_parquet

Row = dict[str, Any]

SCHEMAS = {
    "answers": RESPONSES,
    "markers": MARKERS,
    "breaks": BREAKS,
    "checks": CHECKS,
    "rubric": RUBRIC,
    "pairwise": PAIRWISE,
}
ROLES = {"plans": "target", "everyday": "forgetting"}


def place(prompt: str, name: str = "plans", category: str | None = None, sample: int = 0) -> Row:
    return {
        "set": name,
        "prompt_id": prompt,
        "id": prompt,
        "category": category,
        "difficulty": None,
        "sample": sample,
    }


def _subject(subject: str, at: Row, condition: str | None) -> Row:
    return {**at, "subject": subject, "condition": condition or subject, "role": ROLES.get(at["set"], "target")}


def answer(subject: str, at: Row, text: str = "Hold.", condition: str | None = None, **more: Any) -> Row:
    return {
        **_subject(subject, at, condition),
        "prompt": f"What of {at['prompt_id']}?",
        "signal": None,
        "expect": None,
        "system": False,
        "answer": text,
        "finish_reason": "stop",
        "completion_tokens": 3,
        "calls": [],
        **more,
    }


def mark(subject: str, at: Row, raw: int, condition: str | None = None) -> Row:
    matched = [f"marker-{number}" for number in range(raw)]
    return {**_subject(subject, at, condition), "raw": raw, "capped": min(raw / 4, 1.0), "matched": matched}


def broke(subject: str, at: Row, broken: bool | None, judge: str | None = None, condition: str | None = None) -> Row:
    matched = ["as an ai"] if broken and judge is None else []
    told = {"judge": judge, "broken": broken, "matched": matched, "reason": None, "raw": None, "calls": []}
    return {**_subject(subject, at, condition), **told}


def checked(
    subject: str, at: Row, passed: bool | None, number: int = 0, kind: str = "regex", condition: str | None = None
) -> Row:
    told = {"number": number, "kind": kind, "passed": passed, "detail": None}
    return {**_subject(subject, at, condition), **told}


def scored(
    subject: str, at: Row, overall: float | None, judge: str = "j", condition: str | None = None, **more: Any
) -> Row:
    parts = {} if overall is None else {name: {"score": overall, "justification": ""} for name in ("gate", "voice")}
    return {
        **_subject(subject, at, condition),
        "judge": judge,
        "repeat": 0,
        "source": "live",
        "status": "unscored" if overall is None else "scored",
        "reason": "truncated: no end" if overall is None else None,
        "components": json.dumps(parts),
        "overall": overall,
        "judge_overall": overall,
        "recorded_overall": None,
        "critical_failures": [],
        "raw": "",
        "calls": [],
        **more,
    }


def verdict(first: str, second: str, at: Row, won: str | None, judge: str = "j", **more: Any) -> Row:
    return {
        **at,
        "first": first,
        "second": second,
        "judge": judge,
        "repeat": 0,
        "order": "first_second",
        "second_sample": at["sample"],
        "source": "live",
        "verdict": won,
        "reason": None if won else "unclear",
        "explanation": None,
        "axes": "{}",
        "first_words": 10,
        "second_words": 10,
        "raw": "",
        "calls": [],
        **more,
    }


def both_orders(first: str, second: str, at: Row, won: str | None, judge: str = "j", **more: Any) -> list[Row]:
    orders = ("first_second", "second_first")
    return [verdict(first, second, at, won, judge, order=order, **more) for order in orders]


def settings(**more: Any) -> ReportSettings:
    return ReportSettings(study="demo", evaluation="framework", **{"subjects": {}, "sets": {}, **more})


def reported(told: ReportSettings | None = None, trained: Any = None, **rows: list[Row]) -> Row:
    """The report of rows in memory."""
    told = told or settings()
    evidence = Evidence(**rows, described=told.subjects, roles=told.sets)
    return build_report(evidence, told, None, None, trained or {})


def write_rows(folder: Path, **rows: list[Row]) -> dict[str, Path]:
    """Files of rows as the stages write them, by kind."""
    found = {}
    for kind, same in rows.items():
        name = "responses/all" if kind == "answers" else f"judgements/{kind}"
        found[kind] = folder / f"{name}.parquet"
        names = SCHEMAS[kind].names
        write_parquet(found[kind], [{column: row[column] for column in names} for row in same], SCHEMAS[kind])
    return found


def summarised(folder: Path, told: ReportSettings, **rows: list[Row]) -> Row:
    """report.json of rows that went through files."""
    files = write_rows(folder, **rows)
    answers = files.pop("answers", None)
    summarise([answers] if answers else [], told, folder / "report.json", **files)
    return json.loads((folder / "report.json").read_text())
