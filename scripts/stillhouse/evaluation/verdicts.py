"""Reads a judge's reply as rubric scores, and says why where that cannot be done honestly."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stillhouse.evaluation.replies import (
    FENCE,
    AmbiguousError,
    no_repeats,
    parse_objects,
    spans,
    storable,
    without_reasoning,
)
from stillhouse.evaluation.rubric_file import Rubric
from stillhouse.llm.requests import Call
from stillhouse.study.verdict_words import normal

_SCORE = re.compile(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*(?:/\s*(\d{1,9})\s*)?")
_NAMES = ("name", "component", "criterion", "dimension")  # keys that name a part in a list of parts
DEEPEST = 4  # objects around the scores
NO_FAULT = ("", "none", "n/a", "0", "null", "[]")  # what judges write where there is no critical failure

Parts = tuple[dict[str, Any], dict[str, Any]]
"""(object that holds the components, that object with what stands around it)"""


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
        found = one_verdict(without_reasoning(call.text), rubric)
        return RubricVerdict(found) if isinstance(found, str) else score_parts(*found, rubric)
    except AmbiguousError as error:
        return RubricVerdict(f"ambiguous: {error}")
    except RecursionError:
        return RubricVerdict("no JSON object with the rubric's components: it is nested too deep")


def one_verdict(text: str, rubric: Rubric) -> Parts | str:
    """The only verdict in `text`, or why there is none. Raises `AmbiguousError` for two that differ."""
    names = {normal(name) for name in rubric.components}
    for place in (*FENCE.findall(text), text):
        inside, open_end = spans(place)
        verdicts = _verdicts(inside, names)
        if len(verdicts) > 1:
            raise AmbiguousError(f"{len(verdicts)} verdicts that differ")
        if verdicts and open_end:
            return "truncated: a second verdict has no end"
        if verdicts:
            # a verdict in a fence counts only when the text around it holds no other one
            if len(_verdicts(spans(text)[0], names) | verdicts) > 1:
                raise AmbiguousError("two verdicts that differ")
            return next(iter(verdicts.values()))
    return "truncated: the JSON object has no end" if spans(text)[1] else "no JSON object with the rubric's components"


def _verdicts(inside: list[str], names: set[str]) -> dict[str, Parts]:
    """The verdicts among objects, by what they say."""
    likely = [span for span in inside if any(name in normal(span) for name in names)]
    found = [verdict for value in parse_objects(likely, names) if (verdict := _with_scores(value, names))]
    return {json.dumps(verdict, sort_keys=True): verdict for verdict in found}


def _with_scores(value: Any, names: set[str], depth: int = 0) -> Parts | None:
    """The object that holds components, also where a judge wrapped the scores or wrote them as a list."""
    if isinstance(value, list):
        value = _listed(value, names)
    if not isinstance(value, dict) or depth > DEEPEST:
        return None
    if any(normal(name) in names for name in value):
        return value, value
    found = [parts for part in value.values() if (parts := _with_scores(part, names, depth + 1))]
    most = max((_held(parts[0], names) for parts in found), default=0)
    best = [parts for parts in found if _held(parts[0], names) == most]  # not {"weakest": {"voice": "..."}}
    return (best[0][0], {**best[0][1], **value}) if len(best) == 1 else None


def _held(parts: dict[str, Any], names: set[str]) -> int:
    return len(names & {normal(name) for name in parts})


def _listed(values: list[Any], names: set[str]) -> dict[str, Any] | None:
    """[{"name": "voice", "score": 7}, ...] as {"voice": {...}}; None for any other list."""
    pairs: list[tuple[str, Any]] = []
    for value in values:
        low = {normal(key): part for key, part in value.items()} if isinstance(value, dict) else {}
        told = [low[key] for key in _NAMES if isinstance(low.get(key), str) and normal(low[key]) in names]
        if len(told) != 1:
            return None
        pairs.append((normal(told[0]), low))
    return no_repeats(pairs) if pairs else None


def score_parts(parts: dict[str, Any], around: dict[str, Any], rubric: Rubric) -> RubricVerdict:
    """The verdict in an object: `parts` holds the components, `around` the judge's overall and critical failures.

    Recorded verdicts come this way as well as replies. The overall is recomputed by the rubric's weights. Raises
    `AmbiguousError` when one component has two scores.
    """
    given = no_repeats([(normal(name), value) for name, value in parts.items()])
    low, high = rubric.scale
    components: dict[str, dict[str, Any]] = {}
    for name in rubric.components:
        if normal(name) not in given:
            return RubricVerdict(f"missing component: {name}")
        score, words = _score(given[normal(name)], high)
        if score is None:
            return RubricVerdict(f"no score: {name}")
        if not low <= score <= high:
            return RubricVerdict(f"off the scale: {name} is {score:g}, not {low} to {high}")
        components[name] = {"score": score, "justification": words}
    rest = {normal(name): value for name, value in around.items()}
    overall = rubric.overall({name: part["score"] for name, part in components.items()})
    return RubricVerdict(
        None,
        components,
        round(overall, 6),
        _score(rest.get("overall"), high)[0],
        read_faults(rest.get("critical_failures"), rubric),
    )


def _score(part: Any, high: int) -> tuple[float | None, str]:
    """Score and justification of a component: {"score": ..., "justification": ...} in any case, or a score alone."""
    if not isinstance(part, dict):
        return number(part, high), ""
    low = no_repeats([(normal(key), value) for key, value in part.items()])
    return number(low.get("score"), high), storable(str(low.get("justification") or "")).strip()


def number(value: Any, high: int | None = None) -> float | None:
    """A finite number, also out of "7" or, on a scale that ends at `high` = 10, "7/10"; None for anything else."""
    if isinstance(value, str) and (match := _SCORE.fullmatch(value)) and match[2] in (None, str(high)):
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def read_faults(value: Any, rubric: Rubric) -> list[str]:
    """Critical failures in the judge's order, each once; a number stands for the rubric's text."""
    return list(dict.fromkeys(_fault_texts(value if isinstance(value, list) else [value], rubric)))


def _fault_texts(values: list[Any], rubric: Rubric) -> Iterator[str]:
    for value in values:
        place = number(value)
        if place is not None and 1 <= place <= len(rubric.critical_failures) and place == int(place):
            yield rubric.critical_failures[int(place) - 1]
        elif isinstance(value, dict):  # {"failure": "...", "reason": "..."}
            yield from _fault_texts(["; ".join(text for text in value.values() if isinstance(text, str))], rubric)
        elif isinstance(value, str) and value.strip().lower() not in NO_FAULT:
            yield storable(value).strip()
