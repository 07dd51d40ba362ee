"""Takes a subject's answers from a file, in place of asking."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import EvaluationError, InputError
from stillhouse.evaluation.respond import RESPONSES, Row, SubjectSettings, shared_columns
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.provenance.files import write_parquet

logger = logging.getLogger(__name__)

MISMATCH = "it answers another prompt than the one in the set"


def replay_recorded(rows: list[Row], recorded: Path, settings: SubjectSettings, target: Path) -> dict[str, Any]:
    """Write the answers to `rows` out of a JSONL file of `{id, response, prompt?}`, matched by id.

    Lines with the same id are samples, in the file's order. A response of null is no answer. A set that the file does
    not touch is left out; one that it answers in part is not. Facts: rows, recorded lines, and what was left out.

    Raises:
        InputError: the file cannot be read, or a line is no recorded answer, or answers another prompt.
        EvaluationError: some prompts of a set have an answer and others have not, or none has one.
    """
    answers = _by_id(recorded, rows)
    _refuse_gaps(rows, answers, recorded)
    responses = [
        {
            **shared_columns(row, settings),
            "system": False,
            "sample": sample,
            "answer": split_reasoning(text).answer,
            "finish_reason": "recorded",
            "completion_tokens": None,
            "calls": [],
        }
        for row in sorted(rows, key=lambda row: (row["set"], row["prompt_id"]))
        for sample, text in enumerate(text for text in answers.get(row["id"], []) if text is not None)
    ]
    if not responses:
        raise EvaluationError(f"{recorded}: no answer to any prompt of this evaluation; ids have to match")
    write_parquet(target, responses, RESPONSES)
    absent = sum(text is None for texts in answers.values() for text in texts)
    if absent:
        logger.warning("%s: %d answers are null and count as absent", recorded, absent)
    return {"rows": len(responses), "recorded": sum(map(len, answers.values())), "absent": absent}


def _by_id(recorded: Path, rows: list[Row]) -> dict[str, list[str | None]]:
    prompts = {row["id"]: " ".join(row["prompt"].split()) for row in rows}
    answers: dict[str, list[str | None]] = defaultdict(list)
    for number, line in read_lines(recorded):
        place = f"{recorded} line {number}"
        if line.get("id") in (None, "") or "response" not in line:
            raise InputError(f'{place}: expected {{"id", "response"}}, found keys {", ".join(line) or "none"}')
        name, response, prompt = str(line["id"]), line["response"], line.get("prompt")
        if response is not None and not isinstance(response, str):
            raise InputError(f'{place}: "response" must be text or null, found {type(response).__name__}')
        if isinstance(prompt, str) and name in prompts and " ".join(prompt.split()) != prompts[name]:
            raise InputError(f"{place}: id {name!r}: {MISMATCH}")
        answers[name].append(response)
    return answers


def _refuse_gaps(rows: list[Row], answers: dict[str, list[str | None]], recorded: Path) -> None:
    answered = Counter(row["set"] for row in rows if row["id"] in answers)
    missing = [f"{row['id']} of set {row['set']}" for row in rows if row["id"] not in answers and answered[row["set"]]]
    if missing:
        raise EvaluationError(f"{recorded}: no answer to {len(missing)} prompts, such as {', '.join(missing[:3])}")


def read_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line of a JSONL file that is not empty.

    Raises `InputError` naming file and line for what is no UTF-8, no JSON or no object.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{file} line {line}: not UTF-8") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{file} line {number}: not JSON ({error})") from None
        if not isinstance(value, dict):
            raise InputError(f"{file} line {number}: expected an object, found {type(value).__name__}")
        yield number, value
