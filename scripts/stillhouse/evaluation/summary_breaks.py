"""Character breaks and checks of one subject: how often an answer broke its role, and how many expectations held."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from stillhouse.evaluation.conditions import TARGET
from stillhouse.evaluation.rows import key
from stillhouse.evaluation.statistics import LEVEL, SHARE, estimate, mean
from stillhouse.evaluation.summary_evidence import Row, group


def broken_answers(rows: Iterable[Row]) -> list[tuple[Row, bool]]:
    """(one row of the answer, whether it broke character) of every answer in `rows`, in their order.

    It did where a pattern matched, or more than half of the judges with a verdict say so. Where judges were asked and
    none gave a verdict the patterns alone decide: were such answers left out, those with a match would still count, and
    missing verdicts would raise the rate.
    """
    return [(same[0], _broken(same)) for same in _by_answer(rows)]


def broken_on_targets(rows: Iterable[Row]) -> list[tuple[Row, bool]]:
    """`broken_answers` of target sets: on others there is no role to fall out of."""
    return broken_answers(row for row in rows if row["role"] == TARGET)


def _by_answer(rows: Iterable[Row]) -> list[list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return list(found.values())


def _broken(rows: list[Row]) -> bool:
    if any(row["broken"] for row in rows if row["judge"] is None):
        return True
    given = [row["broken"] for row in rows if row["judge"] is not None and row["broken"] is not None]
    return 2 * sum(given) > len(given)


def _unread(rows: list[Row]) -> bool:
    """Whether judges were asked about an answer that no pattern matched, and none gave a verdict."""
    judged = [row["broken"] for row in rows if row["judge"] is not None]
    return bool(judged) and set(judged) == {None} and not _broken(rows)


def break_facts(rows: list[Row], level: float = LEVEL) -> dict[str, Any]:
    """Rate of broken answers with its interval, and by category, by pattern and by judge; `n` counts answers.

    `rate`, `interval`, `n` and `unscored` are of target sets, the rest of all sets. `unscored` counts the answers whose
    judges gave no verdict: they are in `n`, as what the patterns say of them.
    """
    targets = [row for row in rows if row["role"] == TARGET]
    answers = [(row, float(broken)) for row, broken in broken_answers(rows)]
    rate = estimate(
        [(row["prompt_id"], value) for row, value in answers if row["role"] == TARGET], bounds=SHARE, level=level
    )
    patterns = Counter(text for row in rows if row["judge"] is None for text in row["matched"] or ())
    judged = group((row for row in rows if row["judge"] is not None), "judge")
    return {
        "rate": rate.mean,
        "interval": rate.interval,
        "n": rate.n,
        "unscored": sum(map(_unread, _by_answer(targets))),
        "by_category": _rates((row["category"], value) for row, value in answers),
        "patterns": dict(sorted(patterns.items())),
        "judges": {judge: _judge(judged[judge,]) for (judge,) in sorted(judged)},
    }


def _judge(rows: list[Row]) -> dict[str, Any]:
    given = [float(row["broken"]) for row in rows if row["broken"] is not None]
    return {"rate": mean(given), "n": len(given), "unscored": len(rows) - len(given)}


def check_facts(rows: list[Row], level: float = LEVEL) -> dict[str, Any]:
    """Share of expectations that held with its interval, by kind and category; `errors` could not be run."""
    run = [(row, float(row["passed"])) for row in rows if row["passed"] is not None]
    rate = estimate([(row["prompt_id"], value) for row, value in run], bounds=SHARE, level=level)
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
