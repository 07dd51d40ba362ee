"""Reads prompt files into rows with stable ids."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import InputError
from stillhouse.provenance.digests import canonical_json, prompt_id

SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("set", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("prompt", pa.string()),
        ("messages", pa.string()),
        ("metadata", pa.string()),
    ]
)

ROLES = ("system", "user", "assistant")
OWN_KEYS = ("id", "prompt", "messages", "category", "difficulty")
ANSWER_KEYS = ("response", "judge", "components", "judge_overall", "recorded_overall", "critical_failures")
"""Keys of recorded answers and judgements: they tell nothing about the prompt."""


def read_prompts(file: Path, set_name: str, *, recorded: bool = False) -> list[dict[str, Any]]:
    """The prompts of a JSONL file, sorted by prompt_id.

    With `recorded` the lines may be recorded answers: their answers are left aside, and a prompt counts once.

    Raises `InputError` that names file and line for broken JSON, an empty prompt, and doubled ids or prompts.
    """
    rows: list[dict[str, Any]] = []
    ids: dict[str, int] = {}
    prompts: dict[str, int] = {}
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        row = _row(file, number, line, set_name)
        if recorded and row["id"] in ids and ids[row["id"]] == prompts.get(row["prompt_id"]):
            continue  # one more answer to the same prompt
        for kind, seen, value in (("id", ids, row["id"]), ("prompt", prompts, row["prompt_id"])):
            if value in seen:
                raise InputError(f"{file} line {number}: {kind} {row['id']!r} was in line {seen[value]} already")
            seen[value] = number
        if recorded:
            row["metadata"] = _without_answers(row["metadata"])
        rows.append(row)
    if not rows:
        raise InputError(f"{file}: no prompts in it")
    return sorted(rows, key=lambda row: row["prompt_id"])


def count_lines(file: Path) -> int:
    """Lines of a prompt file that hold something. Raises `InputError` as `read_prompts` does."""
    return sum(bool(line.strip()) for line in _lines(file))


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{file} line {line}: not UTF-8") from error
    return text.split("\n")


def _row(file: Path, number: int, line: str, set_name: str) -> dict[str, Any]:
    place = f"{file} line {number}"
    try:
        entry = json.loads(line, parse_constant=_refuse_constant)
        canonical_json(entry).encode()  # half a surrogate pair cannot be written as UTF-8
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error})") from None
    if not isinstance(entry, dict):
        raise InputError(f'{place}: expected an object like {{"id": ..., "prompt": ...}}')
    messages = _messages(place, entry)
    identity = prompt_id(messages)
    for key in ("id", "category", "difficulty"):
        if entry.get(key) is not None and not isinstance(entry[key], str | int):
            raise InputError(f"{place}: {key} must be text, found {entry[key]!r}")
    return {
        "prompt_id": identity,
        "set": set_name,
        "id": identity if entry.get("id") in (None, "") else str(entry["id"]),
        "category": None if entry.get("category") is None else str(entry["category"]),
        "difficulty": None if entry.get("difficulty") is None else str(entry["difficulty"]),
        "prompt": next(m["content"] for m in reversed(messages) if m["role"] == "user"),
        "messages": canonical_json(messages),
        "metadata": canonical_json({key: value for key, value in entry.items() if key not in OWN_KEYS}),
    }


def _without_answers(metadata: str) -> str:
    return canonical_json({key: value for key, value in json.loads(metadata).items() if key not in ANSWER_KEYS})


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are no JSON, whatever Python's reader thinks."""
    raise ValueError(f"{name} is not a JSON value")


def _messages(place: str, entry: dict[str, Any]) -> list[dict[str, str]]:
    if "messages" not in entry:
        prompt = entry.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f'{place}: "prompt" is empty or missing; expected text')
        return [{"role": "user", "content": prompt.strip()}]
    messages = entry["messages"]
    sound = isinstance(messages, list) and all(
        isinstance(m, dict) and m.get("role") in ROLES and isinstance(m.get("content"), str) and m["content"].strip()
        for m in messages
    )
    if not sound or not any(m["role"] == "user" for m in messages):
        raise InputError(
            f'{place}: "messages" must be a list of {{role, content}} with text and one user turn at least'
        )
    return [{"role": m["role"], "content": m["content"]} for m in messages]


def rows_of_shard(rows: list[dict[str, Any]], shard: int, shards: int) -> list[dict[str, Any]]:
    """The rows of one shard; a prompt's shard depends on its id only, so that adding prompts moves none."""
    return [row for row in rows if int(row["prompt_id"][:8], 16) % shards == shard]
