"""Takes rubric verdicts from a file, in place of asking: the same scale, weights and recomputed overall."""

from collections import Counter
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from stillhouse.evaluation.recorded_lines import Answers, place_of, read_recorded_lines
from stillhouse.evaluation.replies import AmbiguousError
from stillhouse.evaluation.rows import Row
from stillhouse.evaluation.rubric_file import Rubric
from stillhouse.evaluation.verdicts import RubricVerdict, number, read_faults, score_parts
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.verdict_words import normal

JUDGE = "recorded"
"""The judge of lines that name none."""
FAILED = ("failed to parse judge json", "judge error")
"""How the critical failure begins that stands for a judgement which failed."""


def read_recorded(file: Path, subject: str, answers: list[Row], rubric: Rubric) -> list[Row]:
    """The rows of rubric.parquet out of a JSONL file of judgements on the answers of `subject`.

    `answers` are the subject's responses; without any, a line's own category, difficulty and prompt stand for them.
    A line of the same id and judge is the next repeat. A placeholder of a judgement that failed is unscored, and so
    is a line with a missing, null or off-scale component.

    Raises:
        InputError: file and line of what is no judgement, of an id that the subject did not answer, and of a
            component that the rubric does not know.
    """
    known, repeats = Answers(subject, answers), Counter[tuple[str, ...]]()
    rows = []
    for place, line in read_recorded_lines(file, required=("id",)):
        answer = known.find(line, place) if known else None
        told = place_of(line, answer)
        judge = line.get("judge") or JUDGE
        unit = (told["set"], told["prompt_id"], told["id"], judge)
        rows.append(
            {
                "subject": subject,
                "condition": answer["condition"] if answer else subject,
                **told,
                "judge": judge,
                "repeat": repeats[unit],
                "source": "recorded",
                **_judged(line, place, rubric),
            }
        )
        repeats[unit] += 1
    return rows


def _judged(line: Row, place: str, rubric: Rubric) -> dict[str, Any]:
    """Columns that say what the judge gave."""
    parts, faults = _components(line, place, rubric), _faults(line, place)
    overall = _overall(line, "judge_overall", place, rubric)
    verdict = _verdict(parts, faults, overall, rubric)
    scored = verdict.reason is None
    return {
        "status": "scored" if scored else "unscored",
        "reason": verdict.reason,
        "components": canonical_json(verdict.components if scored else parts),
        "overall": verdict.overall,
        "judge_overall": overall,
        "recorded_overall": _overall(line, "recorded_overall", place, rubric),
        # as text a number that the rubric does not list is kept
        "critical_failures": read_faults([str(fault) if type(fault) is int else fault for fault in faults], rubric),
        "raw": canonical_json({"components": parts, "critical_failures": faults, "overall": line.get("judge_overall")}),
        "calls": [],
    }


def _verdict(parts: dict[str, Any], faults: list[Any], overall: float | None, rubric: Rubric) -> RubricVerdict:
    broken = [fault for fault in faults if isinstance(fault, str) and fault.strip().lower().startswith(FAILED)]
    zero = all(not number(part["score"] if isinstance(part, dict) else part) for part in parts.values())
    if broken and zero:
        return RubricVerdict(f"placeholder: {broken[0].strip().splitlines()[0]}")
    try:
        return score_parts(parts, {"overall": overall, "critical_failures": faults}, rubric)
    except AmbiguousError as error:
        return RubricVerdict(f"ambiguous: {error}")


def _components(line: Row, place: str, rubric: Rubric) -> dict[str, Any]:
    parts = line.get("components", {})
    if not isinstance(parts, dict):
        raise InputError(f"{place}: components: expected {{name: {{score, justification}}}}, found {parts!r}")
    known = {normal(name) for name in rubric.components}
    if unknown := [name for name in parts if normal(name) not in known]:
        raise InputError(
            f"{place}: component {unknown[0]!r} is not in the rubric; it has {', '.join(rubric.components)}"
        )
    return {name: _part(part) for name, part in parts.items() if part is not None}


def _part(part: Any) -> dict[str, Any]:
    part = part if isinstance(part, dict) else {"score": part}
    return {"score": part.get("score"), "justification": str(part.get("justification") or "").strip()}


def _faults(line: Row, place: str) -> list[Any]:
    found = line.get("critical_failures", [])
    faults = found if isinstance(found, list) else [found]
    if any(not isinstance(fault, str | int | None) for fault in faults):
        raise InputError(f"{place}: critical_failures: expected a list of texts, found {found!r}")
    return faults


def _overall(line: Row, key: str, place: str, rubric: Rubric) -> float | None:
    if key not in line:
        return None
    found = number(line[key], rubric.scale[1])
    if found is None:
        raise InputError(f"{place}: {key}: expected a number, found {line[key]!r}")
    return found
