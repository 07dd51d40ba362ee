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
    answers = _by_prompt(recorded, rows)
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
        for sample, text in enumerate(text for text in answers.get(_place(row), []) if text is not None)
    ]
    absent = sum(text is None for texts in answers.values() for text in texts)
    if rows and not responses:
        why = "all of its answers are null" if absent else "ids have to match"
        raise EvaluationError(f"{recorded}: no answer to any prompt of this evaluation; {why}")
    write_parquet(target, responses, RESPONSES)
    if absent:
        logger.warning("%s: %d answers are null and count as absent", recorded, absent)
    return {"rows": len(responses), "recorded": sum(map(len, answers.values())), "absent": absent}


def _place(row: Row) -> tuple[str, str]:
    return row["set"], row["id"]


def _by_prompt(recorded: Path, rows: list[Row]) -> dict[tuple[str, str], list[str | None]]:
    """Answers by set and id of the prompt that they belong to, each in the file's order."""
    prompts: dict[str, dict[str, str]] = defaultdict(dict)  # by id: text by set
    for row in rows:
        prompts[row["id"]][row["set"]] = _spaced(row["prompt"])
    answers: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    judged: set[tuple[str, str | None]] = set()
    foreign: list[str] = []
    for number, line in read_lines(recorded):
        name, response = _answer(line, f"{recorded} line {number}")
        if "components" in line and (name, response) in judged:
            continue  # one more judgement of the same answer
        judged.add((name, response))
        sets = _sets_of(name, line.get("prompt"), prompts.get(name, {}), f"{recorded} line {number}")
        foreign += [] if sets else [name]
        for key in sets:
            answers[key, name].append(response)
    if foreign:
        told = (recorded, len(foreign), ", ".join(foreign[:3]))
        logger.warning("%s: %d answers belong to no prompt of this evaluation, such as %s", *told)
    return answers


def _answer(line: Row, place: str) -> tuple[str, str | None]:
    """Id and answer of a line."""
    if line.get("id") in (None, "") or "response" not in line:
        raise InputError(f'{place}: expected {{"id", "response"}}, found keys {", ".join(line) or "none"}')
    response = line["response"]
    if response is not None and not isinstance(response, str):
        raise InputError(f'{place}: "response" must be text or null, found {type(response).__name__}')
    try:
        (response or "").encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: half a character ({error.reason}), which cannot be written") from None
    return str(line["id"]), response


def _sets_of(name: str, prompt: object, known: dict[str, str], place: str) -> list[str]:
    """The sets whose prompt `name` a line answers: those with its text, or the only ones with its id."""
    texts = set(known.values())
    if isinstance(prompt, str) and known:
        found = [key for key, text in known.items() if text == _spaced(prompt)]
        if not found:
            raise InputError(f"{place}: id {name!r}: {MISMATCH}")
        return found
    if len(texts) > 1:
        sets = ", ".join(known)
        raise InputError(f"{place}: id {name!r} stands for different prompts in the sets {sets}; give its prompt too")
    return list(known)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _refuse_gaps(rows: list[Row], answers: dict[tuple[str, str], list[str | None]], recorded: Path) -> None:
    answered = Counter(row["set"] for row in rows if _place(row) in answers)
    gaps = [row for row in rows if _place(row) not in answers and answered[row["set"]]]
    if gaps:
        shown = ", ".join(f"{row['id']} of set {row['set']}" for row in gaps[:3])
        raise EvaluationError(f"{recorded}: no answer to {len(gaps)} prompts, such as {shown}")


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
            value = json.loads(line, object_pairs_hook=_no_repeats)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file} line {number}: not JSON ({error})") from None
        if not isinstance(value, dict):
            raise InputError(f"{file} line {number}: expected an object, found {type(value).__name__}")
        yield number, value


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that comes twice the last would count, and nobody would know."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found
