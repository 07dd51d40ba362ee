"""Takes pairwise verdicts from a file, in place of asking."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from stillhouse.evaluation.choices import ORDERS, SLOTS, axis_choice, read_reply, unblind
from stillhouse.evaluation.recorded_lines import Answers, place_of, read_recorded_lines
from stillhouse.evaluation.rows import Row
from stillhouse.provenance.digests import canonical_json

JUDGE = "recorded"
"""The judge of lines that name none."""
REQUIRED = ("id", "candidate", "baseline", "candidate_slot")


def read_recorded_verdicts(file: Path, answers: list[Row], axes: Sequence[str] = ()) -> list[Row]:
    """The rows of pairwise.parquet out of a JSONL file of verdicts: id, candidate, baseline, candidate_slot, raw.

    A line whose candidate and baseline were named the other way round before is turned, so that a pair that was
    recorded from both sides stays one pair. `answers` are all responses; a prompt that neither side answered stands in the set "recorded". `axes` are names to
    look for in replies, besides those that replies score themselves. A line of the same id, pair, judge and slot is
    the next repeat.

    Raises:
        InputError: file and line of what is no verdict, and of an id that a subject with answers did not answer.
    """
    by_subject: dict[str, list[Row]] = {}
    for row in answers:
        by_subject.setdefault(row["subject"], []).append(row)
    known = {subject: Answers(subject, rows) for subject, rows in by_subject.items()}
    repeats = Counter[tuple[str, ...]]()
    rows = []
    pairs: set[tuple[str, str]] = set()
    for place, line in read_recorded_lines(file, REQUIRED, nullable=("raw",)):
        row = _row(_turned(line, pairs, place), place, known, axes)
        pairs.add((row["first"], row["second"]))
        unit = tuple(row[name] for name in ("first", "second", "set", "prompt_id", "id", "judge", "order"))
        rows.append({**row, "repeat": repeats[unit]})
        repeats[unit] += 1
    return rows


def _turned(line: Row, pairs: set[tuple[str, str]], place: str) -> Row:
    """The line from the side from which its pair was named first."""
    slot, first, second = line["candidate_slot"], _name(line, "candidate", place), _name(line, "baseline", place)
    if slot not in ("A", "B"):
        raise InputError(f'{place}: candidate_slot: expected "A" or "B", found {slot!r}')
    if first == second or (second, first) not in pairs:
        return line
    return {**line, "candidate": second, "baseline": first, "candidate_slot": "B" if slot == "A" else "A"}


def _row(line: Row, place: str, known: dict[str, Answers], axes: Sequence[str]) -> Row:
    first, second = line["candidate"], line["baseline"]
    order = ORDERS[line["candidate_slot"] == "B"]
    found = [known[name].find(line, place) if name in known else None for name in (first, second)]
    verdict = read_reply(_raw(line, place), SLOTS, axes)
    chosen = _axes(line, place) or verdict.axes
    about = place_of(line, found[0] or found[1])
    return {
        "first": first,
        "second": second,
        **about,
        "second_sample": about["sample"],
        "judge": line.get("judge") or JUDGE,
        "order": order,
        "source": "recorded",
        "verdict": unblind(verdict.choice, order, SLOTS),
        "reason": verdict.reason,
        "explanation": verdict.explanation,
        "axes": canonical_json({axis: unblind(choice, order, SLOTS) for axis, choice in chosen.items()}),
        "first_words": _words(found[0]),
        "second_words": _words(found[1]),
        "raw": line.get("raw", ""),
        "calls": [],
    }


def _name(line: Row, key: str, place: str) -> str:
    if not isinstance(line[key], str) or len(line[key].splitlines()) != 1:
        raise InputError(f"{place}: {key}: expected the name of a subject, found {line[key]!r}")
    return line[key]


def _raw(line: Row, place: str) -> str:
    """The judge's reply; null is a reply that never came."""
    raw = line.get("raw", "")
    if not isinstance(raw, str):
        raise InputError(f"{place}: raw: expected the judge's reply as text, found {raw!r}")
    return raw


def _axes(line: Row, place: str) -> dict[str, str]:
    """The choice on each axis that the line names; one without a choice is absent, as null is."""
    axes = line.get("axes", {})
    if not isinstance(axes, dict):
        raise InputError(f'{place}: axes: expected {{axis: "A", "B" or "TIE"}}, found {axes!r}')
    found = {name: _axis(name, told, place) for name, told in axes.items() if told is not None}
    return {name: choice for name, choice in found.items() if choice is not None}


def _axis(name: str, told: Any, place: str) -> str | None:
    try:
        return axis_choice(told)
    except ValueError:
        expected = '"A", "B", "TIE" or {"A": 4, "B": 5}'
        raise InputError(f"{place}: axes.{name}: expected {expected}, found {told!r}") from None


def _words(answer: Row | None) -> int | None:
    return None if answer is None else len(answer["answer"].split())
