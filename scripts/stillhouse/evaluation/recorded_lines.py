"""What recorded judgements and recorded verdicts share: lines of a JSONL file, matched to answers by id."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from stillhouse.evaluation.recorded_answers import read_lines
from stillhouse.evaluation.rows import Row
from stillhouse.provenance.digests import canonical_json, prompt_id

SET = "recorded"
"""The set of prompts that no subject answered."""
TEXTS = ("id", "category", "difficulty", "judge", "prompt")
READ = (
    *TEXTS,
    *("components", "judge_overall", "recorded_overall", "critical_failures"),
    *("candidate", "baseline", "candidate_slot", "raw", "axes"),
)
"""Keys that mean something; all others are ignored."""


def read_recorded_lines(file: Path, required: Iterable[str], nullable: Iterable[str] = ()) -> Iterator[tuple[str, Row]]:
    """(place in words, object) of every line; keys that are null are left out, ids and their like are text.

    Raises `InputError` naming file and line for what is no JSON object, lacks one of `required` or (though they may be
    null) of `nullable`, or holds a number that JSON has not.
    """
    found = False
    for number, whole in read_lines(file):
        place, line = f"{file} line {number}", {key: value for key, value in whole.items() if key in READ}
        try:
            canonical_json(line).encode()
        except (ValueError, RecursionError) as error:  # NaN, or half a surrogate pair, which UTF-8 cannot hold
            raise InputError(f"{place}: not JSON ({error})") from None
        if missing := [key for key in required if line.get(key) in (None, "")] + [k for k in nullable if k not in line]:
            raise InputError(f"{place}: {missing[0]!r} is missing or empty; found keys {', '.join(whole) or 'none'}")
        for key in TEXTS:
            value = line.get(key)
            if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
                raise InputError(f"{place}: {key!r} must be text, found {value!r}")
        found = True
        yield place, {key: str(v) if key in TEXTS else v for key, v in line.items() if v is not None}
    if not found:
        raise InputError(f"{file}: nothing is recorded in it")


class Answers:
    """A subject's first answers, by id."""

    def __init__(self, subject: str, rows: Iterable[Row]) -> None:
        self.subject = subject
        self._by_id: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["subject"] == subject and not row.get("sample"):
                self._by_id[row["id"]].append(row)

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def find(self, line: Row, place: str) -> Row:
        """The answer that a recorded line is about.

        Raises `InputError` when the subject has no answer of that id, or answers in several sets and the line's
        prompt does not tell which is meant.
        """
        found = self._by_id.get(line["id"], [])
        if len(found) > 1:
            prompt = " ".join(line.get("prompt", "").split())
            found = [row for row in found if " ".join(row["prompt"].split()) == prompt] or found
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError(f"{place}: subject {self.subject} has no answer of id {line['id']!r}")
        sets = ", ".join(sorted(row["set"] for row in found))
        raise InputError(
            f"{place}: id {line['id']!r} stands in several sets ({sets}); a prompt that tells them is needed"
        )


def place_of(line: Row, answer: Row | None) -> dict[str, Any]:
    """Columns that say which prompt a line is about: those of the answer, or out of the line itself."""
    if answer is not None:
        told = {name: answer[name] for name in ("set", "prompt_id", "id")}
        kinds = {name: answer[name] or line.get(name) for name in ("category", "difficulty")}
        return {**told, **kinds, "sample": 0}
    content = line.get("prompt", "").strip() or f"id:{line['id']}"
    return {
        "set": SET,
        "prompt_id": prompt_id([{"role": "user", "content": content}]),
        "id": line["id"],
        "category": line.get("category"),
        "difficulty": line.get("difficulty"),
        "sample": 0,
    }
