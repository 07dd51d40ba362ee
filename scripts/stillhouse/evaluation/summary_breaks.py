"""Character breaks and checks of one subject: how often an answer broke its role, and how many expectations held."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from stillhouse.evaluation.statistics import LEVEL, estimate, mean
from stillhouse.evaluation.summary_evidence import Row, group, place

UNIT = (0.0, 1.0)


def broken_answers(rows: Iterable[Row]) -> list[tuple[Row, bool | None]]:
    """(one row of the answer, whether it broke character) of every answer in `rows`, in their order.

    It did where a pattern matched, or more than half of the judges with a verdict say so. None where judges were asked
    and none gave a verdict.
    """
    by_answer: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        by_answer[place(row)].append(row)
    return [(same[0], _broken(same)) for same in by_answer.values()]


def _broken(rows: list[Row]) -> bool | None:
    if any(row["broken"] for row in rows if row["judge"] is None):
        return True
    judged = [row for row in rows if row["judge"] is not None]
    if not judged:
        return False
    given = [row["broken"] for row in judged if row["broken"] is not None]
    return 2 * sum(given) > len(given) if given else None


def break_facts(rows: list[Row], level: float = LEVEL) -> dict[str, Any]:
    """Rate of broken answers with its interval, by category, by pattern and by judge; `n` counts answers."""
    answers = broken_answers(rows)
    known = [(row, float(broken)) for row, broken in answers if broken is not None]
    rate = estimate([(row["prompt_id"], value) for row, value in known], bounds=UNIT, level=level)
    patterns = Counter(text for row in rows if row["judge"] is None for text in row["matched"] or ())
    judged = group((row for row in rows if row["judge"] is not None), "judge")
    return {
        "rate": rate.mean,
        "interval": rate.interval,
        "n": rate.n,
        "unscored": len(answers) - len(known),
        "by_category": _rates((row["category"], value) for row, value in known),
        "patterns": dict(sorted(patterns.items())),
        "judges": {judge: _judge(judged[judge,]) for (judge,) in sorted(judged)},
    }


def _judge(rows: list[Row]) -> dict[str, Any]:
    given = [float(row["broken"]) for row in rows if row["broken"] is not None]
    return {"rate": mean(given), "n": len(given), "unscored": len(rows) - len(given)}


def check_facts(rows: list[Row], level: float = LEVEL) -> dict[str, Any]:
    """Share of expectations that held with its interval, by kind and category; `errors` could not be run."""
    run = [(row, float(row["passed"])) for row in rows if row["passed"] is not None]
    rate = estimate([(row["prompt_id"], value) for row, value in run], bounds=UNIT, level=level)
    return {
        "rate": rate.mean,
        "interval": rate.interval,
        "n": rate.n,
        "errors": len(rows) - len(run),
        "by_kind": _rates((row["kind"], value) for row, value in run),
        "by_category": _rates((row["category"], value) for row, value in run),
    }


def _rates(values: Iterable[tuple[str | None, float]]) -> dict[str, Any]:
    """Rate and n by name; what has no name is left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, value in values:
        if name is not None:
            found[name].append(value)
    return {name: {"rate": mean(found[name]), "n": len(found[name])} for name in sorted(found)}
