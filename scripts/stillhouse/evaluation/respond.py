"""Lets a subject answer held-out prompts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, StrictUndefined, TemplateError

from stillhouse.errors import EvaluationError, InputError
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call, Message, Request
from stillhouse.llm.running import gather
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import write_parquet
from stillhouse.study.base import Sampling, Section

Row = dict[str, Any]

RESPONSES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("set", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("role", pa.string()),
        ("prompt", pa.string()),
        ("signal", pa.string()),
        ("expect", pa.string()),
        ("subject", pa.string()),
        ("condition", pa.string()),
        ("system", pa.bool_()),
        ("sample", pa.int32()),
        ("answer", pa.string()),
        ("finish_reason", pa.string()),
        ("completion_tokens", pa.int32()),
        ("calls", pa.list_(pa.string())),
    ]
)

SIGNALS = ("ground_truth_signal", "ground_truth", "expectation")
"""Keys of a prompt that tell a judge what a good answer holds; the first one that is there counts."""

PROBE = "the prompt stands here"


class SubjectSettings(Section):
    """Who answers, and how; `roles` maps prompt sets to target or forgetting, `samples` counts answers to a prompt."""

    subject: str
    condition: str
    roles: dict[str, str]
    samples: int = 1
    sampling: Sampling


@dataclass(frozen=True)
class SubjectTexts:
    """What a subject reads besides the prompt.

    `context` stands before the prompt, `wrap` is a template with `{{ prompt }}`; `foreign` are the system prompts of
    other subjects, which this one must not see.
    """

    system: str | None = None
    context: tuple[str, ...] = ()
    wrap: str | None = None
    grammar: str | None = None
    foreign: tuple[str, ...] = ()


def conversation(row: Row, texts: SubjectTexts) -> list[Message]:
    """The row's messages as the subject gets them. Raises `InputError` when the wrapping template is wrong."""
    messages = json.loads(row["messages"])
    if texts.context or texts.wrap:
        last = max(place for place, message in enumerate(messages) if message["role"] == "user")
        messages[last] = {**messages[last], "content": _wrapped(messages[last]["content"], texts)}
    if texts.system is None:
        return messages
    return [{"role": "system", "content": texts.system}, *(m for m in messages if m["role"] != "system")]


def _wrapped(prompt: str, texts: SubjectTexts) -> str:
    if texts.wrap is not None:
        try:
            prompt = Environment(undefined=StrictUndefined).from_string(texts.wrap).render(prompt=prompt)
        except TemplateError as error:
            raise InputError(f"wrap: {error}; expected a text with {{{{ prompt }}}}") from error
    return "\n\n".join([*texts.context, prompt])


def respond(
    rows: list[Row],
    client: Client,
    settings: SubjectSettings,
    target: Path,
    texts: SubjectTexts = SubjectTexts(),
) -> dict[str, Any]:
    """Answer `rows` (prompts, any sets) and write the responses, sorted by set, prompt_id and sample.

    Backends that decode in batches do so over the whole list, in its order. Facts: rows, truncated and empty answers.
    Raises `EvaluationError` when the subject would read a system prompt that is another one's.
    """
    if texts.wrap is not None and PROBE not in _wrapped(PROBE, SubjectTexts(wrap=texts.wrap)):
        raise InputError("wrap: the file has no {{ prompt }}, so every prompt would read the same")
    asked = [
        (row, sample)
        for row in sorted(rows, key=lambda row: (row["set"], row["prompt_id"]))
        for sample in range(settings.samples)
    ]
    requests = [_request(row, sample, client, settings, texts) for row, sample in asked]
    for (row, _), request in zip(asked, requests, strict=True):
        _check_condition(row, request, client, settings, texts)
    client.decode_together(requests)
    calls = gather((client.answer(r) for r in requests), description=settings.subject, total=len(requests))
    responses = [_response(*place, call, settings, texts) for place, call in zip(asked, calls, strict=True)]
    write_parquet(target, responses, RESPONSES)
    return {
        "rows": len(responses),
        "truncated": sum(call.truncated for call in calls),
        "empty": sum(not call.text for call in calls),
    }


def _request(row: Row, sample: int, client: Client, settings: SubjectSettings, texts: SubjectTexts) -> Request:
    parts = (row["prompt_id"], "subject", sample) if sample else (row["prompt_id"], "subject")
    messages = conversation(row, texts)
    return client.request(messages, settings.sampling, seed_parts=parts, grammar=texts.grammar, index=sample)


def _check_condition(
    row: Row, request: Request, client: Client, settings: SubjectSettings, texts: SubjectTexts
) -> None:
    """A condition without system prompt must have none rendered, one with it must have its own and no other."""
    sent = "\n".join(content for _, content in request.messages)
    rendered = client.render(request) or sent
    where = f"subject {settings.subject}, prompt {row['id']} of set {row['set']}"
    if any(foreign in sent or foreign in rendered for foreign in texts.foreign):
        raise EvaluationError(f"{where}: another subject's system prompt is in what this one reads")
    if texts.system is not None and texts.system not in rendered:
        raise EvaluationError(f"{where}: the chat template drops the subject's system prompt")


def shared_columns(row: Row, settings: SubjectSettings) -> Row:
    """Columns of a response that come from its prompt and its subject."""
    metadata = json.loads(row.get("metadata") or "{}")
    signal = next((metadata[key] for key in SIGNALS if isinstance(metadata.get(key), str)), None)
    expect = metadata.get("expect")
    return {
        **{key: row[key] for key in ("prompt_id", "set", "id", "category", "difficulty", "prompt")},
        "signal": signal,
        "expect": None if expect is None else canonical_json(expect),
        "role": settings.roles[row["set"]],
        "subject": settings.subject,
        "condition": settings.condition,
    }


def _response(row: Row, sample: int, call: Call, settings: SubjectSettings, texts: SubjectTexts) -> Row:
    return {
        **shared_columns(row, settings),
        "system": texts.system is not None,
        "sample": sample,
        "answer": call.text,
        "finish_reason": call.finish_reason,
        "completion_tokens": call.completion_tokens,
        "calls": [call.digest],
    }
