"""Lets a subject answer held-out prompts."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import EvaluationError, InputError
from stillhouse.llm.client import Client
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Call, Message, Request
from stillhouse.llm.running import gather
from stillhouse.provenance.files import write_parquet
from stillhouse.study.base import Sampling, Section

RESPONSES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("set", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("role", pa.string()),
        ("prompt", pa.string()),
        ("subject", pa.string()),
        ("condition", pa.string()),
        ("system", pa.bool_()),
        ("answer", pa.string()),
        ("finish_reason", pa.string()),
        ("completion_tokens", pa.int32()),
        ("calls", pa.list_(pa.string())),
    ]
)


class SubjectSettings(Section):
    """Who answers, and how; `roles` maps prompt sets to target or forgetting."""

    subject: str
    condition: str
    roles: dict[str, str]
    sampling: Sampling


def conversation(row: dict[str, Any], system: str | None) -> list[Message]:
    """The row's messages, under the subject's system prompt where it has one."""
    messages = json.loads(row["messages"])
    if system is None:
        return messages
    return [{"role": "system", "content": system}, *(m for m in messages if m["role"] != "system")]


def respond(
    rows: list[dict[str, Any]],
    client: Client,
    settings: SubjectSettings,
    target: Path,
    *,
    system: str | None = None,
    grammar: str | None = None,
    batch: int | None = None,
) -> dict[str, Any]:
    """Answer `rows` (prompts, any sets) and write the responses, sorted by set and prompt_id.

    `batch` is given for backends that decode in batches of that size. Facts: rows, truncated and empty answers.
    """
    rows = sorted(rows, key=lambda row: (row["set"], row["prompt_id"]))
    requests = [_request(row, client, settings, system, grammar) for row in rows]
    if batch:
        calls = client.answer_batch(requests, batch)
    else:
        calls = gather((client.answer(r) for r in requests), description=settings.subject, total=len(requests))
    write_parquet(
        target, [_response(row, call, settings, system) for row, call in zip(rows, calls, strict=True)], RESPONSES
    )
    return {
        "rows": len(rows),
        "truncated": sum(call.truncated for call in calls),
        "empty": sum(not call.text for call in calls),
    }


def _request(
    row: dict[str, Any], client: Client, settings: SubjectSettings, system: str | None, grammar: str | None
) -> Request:
    messages, seed_parts = conversation(row, system), (row["prompt_id"], "subject")
    return client.request(messages, settings.sampling, seed_parts=seed_parts, grammar=grammar)


def _response(row: dict[str, Any], call: Call, settings: SubjectSettings, system: str | None) -> dict[str, Any]:
    common = {key: row[key] for key in ("prompt_id", "set", "id", "category", "difficulty", "prompt")}
    return {
        **common,
        "role": settings.roles[row["set"]],
        "subject": settings.subject,
        "condition": settings.condition,
        "system": system is not None,
        "answer": call.text,
        "finish_reason": call.finish_reason,
        "completion_tokens": call.completion_tokens,
        "calls": [call.digest],
    }


def replay_recorded(
    rows: list[dict[str, Any]], recorded: Path, settings: SubjectSettings, target: Path
) -> dict[str, Any]:
    """Take the answers to `rows` from a JSONL file of `{id, response}`, matched by id.

    Raises `EvaluationError` naming the prompts that have no recorded answer.
    """
    answers = dict(_recorded(recorded))
    missing = [row["id"] for row in rows if row["id"] not in answers]
    if missing:
        raise EvaluationError(
            f"{recorded}: no answer for {len(missing)} of {len(rows)} prompts, such as {', '.join(missing[:3])}"
        )
    rows = sorted(rows, key=lambda row: (row["set"], row["prompt_id"]))
    common = ("prompt_id", "set", "id", "category", "difficulty", "prompt")
    responses = [
        {
            **{key: row[key] for key in common},
            "role": settings.roles[row["set"]],
            "subject": settings.subject,
            "condition": settings.condition,
            "system": False,
            "answer": split_reasoning(answers[row["id"]]).answer,
            "finish_reason": "recorded",
            "completion_tokens": None,
            "calls": [],
        }
        for row in rows
    ]
    write_parquet(target, responses, RESPONSES)
    return {"rows": len(rows), "recorded": len(answers)}


def _recorded(file: Path) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append((str(row["id"]), str(row["response"])))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{file} line {number}: expected {{"id", "response"}}') from error
    return found
