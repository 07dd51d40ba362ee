"""Reads a judge's reply as rubric scores, and says why where that cannot be done honestly."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import json_repair

from stillhouse.evaluation.rubric_file import Rubric, normal
from stillhouse.llm.requests import Call

# A backslash in JSON that is meant: \" \\ \/ \uXXXX \n \r \t. Judges write LaTeX unescaped, and then \frac would
# become a form feed, \beta a backspace, \times a tab: such a backslash is doubled before parsing.
_LATEX = r"(?:imes|ext|heta|au|an|o|abla|eq|eg|u|ho|ight|m)\b"
_BACKSLASH = re.compile(rf'\\(\\|"|/|u[0-9a-fA-F]{{4}}|[nrt](?!{_LATEX}))?')
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_SCORE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*\d+\s*)?")


class AmbiguousError(Exception):
    """A reply that says two different things."""


@dataclass(frozen=True)
class RubricVerdict:
    """Scores of one reply; `reason` says why there are none. `judge_overall` is the judge's own arithmetic."""

    reason: str | None = None
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    overall: float | None = None
    judge_overall: float | None = None
    critical_failures: list[str] = field(default_factory=list)


def read_verdict(call: Call, rubric: Rubric) -> RubricVerdict:
    """The verdict in a reply. Truncated, ambiguous, incomplete or off the scale: a reason and no score."""
    if call.truncated:
        return RubricVerdict("truncated: the reply reached max_tokens")
    try:
        found = _one_verdict(call.text, rubric)
        if isinstance(found, str):
            return RubricVerdict(found)
        return _scored(*found, rubric)
    except AmbiguousError as error:
        return RubricVerdict(f"ambiguous: {error}")


def _one_verdict(text: str, rubric: Rubric) -> tuple[dict[str, Any], dict[str, Any]] | str:
    """(object with the components, object with the rest) of the only verdict in `text`, or why there is none."""
    names = {normal(name) for name in rubric.components}
    places = [*_FENCE.findall(text), text]
    for place in places:
        spans, open_end = _spans(place)
        verdicts = [verdict for span in spans if (verdict := _with_scores(_parse(span), names))]
        if len({json.dumps(verdict, sort_keys=True) for verdict in verdicts}) > 1:
            raise AmbiguousError(f"{len(verdicts)} verdicts that differ")
        if verdicts and open_end:
            return "truncated: a second verdict has no end"
        if verdicts:
            _refuse_second(text, verdicts[0], names)
            return verdicts[0]
    return "truncated: the JSON object has no end" if _spans(text)[1] else "no JSON object with the rubric's components"


def _refuse_second(text: str, verdict: tuple[dict[str, Any], dict[str, Any]], names: set[str]) -> None:
    """A verdict in a fence counts only when the text around it holds no other one."""
    for span in _spans(text)[0]:
        other = _with_scores(_parse(span), names)
        if other and json.dumps(other, sort_keys=True) != json.dumps(verdict, sort_keys=True):
            raise AmbiguousError("two verdicts that differ")


def _spans(text: str) -> tuple[list[str], bool]:
    """Outermost {...} of `text`, and whether a last one has no end. Braces inside strings do not count."""
    spans: list[str] = []
    depth, start, quoted, escaped = 0, 0, False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"' and depth:
            quoted = True
        elif character == "{":
            start = start if depth else place
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                spans.append(text[start : place + 1])
    return spans, depth > 0


def _parse(span: str) -> dict[str, Any] | None:
    """One balanced object: strictly, else repaired. json-repair never sees an object without its end."""
    kept = _BACKSLASH.sub(lambda match: match[0] if match[1] else "\\\\", span)
    try:
        value = json.loads(kept, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError):
        try:
            value = json_repair.loads(kept, skip_json_loads=True)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict):
            _refuse_repeated_keys(value, kept)
    return value if isinstance(value, dict) else None


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that comes twice with different values would silently keep the last."""
    kept: dict[str, Any] = {}
    for name, value in pairs:
        if name in kept and kept[name] != value:
            raise AmbiguousError(f"{name!r} comes twice")
        kept[name] = value
    return kept


def _refuse_repeated_keys(value: dict[str, Any], text: str) -> None:
    """The same for a repaired object, whose repeats json-repair does not tell."""
    for name in value:
        if len(re.findall(rf"[\"'{{,]\s*{re.escape(str(name))}[\"']?\s*:", text)) > 1:
            raise AmbiguousError(f"{name!r} comes twice")


def _with_scores(value: Any, names: set[str]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(object that holds components, object around it), also where a judge wrapped the scores once more."""
    if not isinstance(value, dict):
        return None
    if any(normal(str(name)) in names for name in value):
        return value, value
    inner = [part for part in value.values() if isinstance(part, dict) and names & {normal(str(n)) for n in part}]
    return (inner[0], {**inner[0], **value}) if len(inner) == 1 else None


def _scored(parts: dict[str, Any], around: dict[str, Any], rubric: Rubric) -> RubricVerdict:
    given = _no_repeats([(normal(str(name)), value) for name, value in parts.items()])
    low, high = rubric.scale
    components: dict[str, dict[str, Any]] = {}
    for name in rubric.components:
        if normal(name) not in given:
            return RubricVerdict(f"missing component: {name}")
        part = given[normal(name)]
        score = _number(part.get("score") if isinstance(part, dict) else part)
        if score is None:
            return RubricVerdict(f"no score: {name}")
        if not low <= score <= high:
            return RubricVerdict(f"off the scale: {name} is {score:g}, not {low} to {high}")
        words = part.get("justification") if isinstance(part, dict) else None
        components[name] = {"score": score, "justification": str(words or "").strip()}
    rest = {normal(str(name)): value for name, value in around.items()}
    overall = rubric.overall({name: part["score"] for name, part in components.items()})
    return RubricVerdict(
        None,
        components,
        round(overall, 6),
        _number(rest.get("overall")),
        _faults(rest.get("critical_failures"), rubric),
    )


def _number(value: Any) -> float | None:
    """A finite number, also out of "7" or "7/10"; None for anything else."""
    if isinstance(value, dict):
        return _number(value.get("score"))
    if isinstance(value, str) and (match := _SCORE.fullmatch(value)):
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _faults(value: Any, rubric: Rubric) -> list[str]:
    """Critical failures in the judge's order, each once; a number stands for the rubric's text."""
    return list(dict.fromkeys(_fault_texts(value if isinstance(value, list) else [value], rubric)))


def _fault_texts(values: list[Any], rubric: Rubric) -> Iterator[str]:
    for value in values:
        number = _number(value)
        if number is not None and 1 <= number <= len(rubric.critical_failures) and number == int(number):
            yield rubric.critical_failures[int(number) - 1]
        elif isinstance(value, str) and value.strip() and value.strip().lower() not in ("none", "n/a", "0"):
            yield value.strip()
