"""One subject's block of report.json: its answers, markers, breaks, checks and rubric scores."""

from collections import Counter
from typing import Any

from stillhouse.evaluation.report_settings import ReportSettings
from stillhouse.evaluation.rubric_file import Rubric
from stillhouse.evaluation.scores import rubric_means
from stillhouse.evaluation.statistics import SHARE, estimate, mean
from stillhouse.evaluation.summary_breaks import break_facts, check_facts
from stillhouse.evaluation.summary_evidence import Evidence, Row, group


def subject_block(
    name: str, settings: ReportSettings, evidence: Evidence, markers: int | None, rubric: Rubric | None
) -> dict[str, Any]:
    """Everything that was measured of the subject `name`; what was not is None or, by set, absent.

    `markers` is the number of markers, the highest raw count.
    """
    level = settings.rules.level
    answers = {key: evidence.answers_by.get((name, key), []) for key in evidence.sets}
    broken, checked = evidence.breaks_by.get((name,)), evidence.checks_by.get((name,))
    verdicts = evidence.rubric_by.get((name,))
    return {
        "condition": evidence.conditions[name],
        "system": any(row["system"] for rows in answers.values() for row in rows),
        "described": settings.subjects.get(name, {}),
        "adapter": settings.adapters.get(name),
        "family": settings.families.get(name),
        "answers": {key: _answers(rows) for key, rows in answers.items() if rows},
        "markers": {
            key: _marked(rows, markers, level)
            for key in evidence.sets
            if (rows := evidence.markers_by.get((name, key)))
        },
        "breaks": break_facts(broken, level) if broken else None,
        "checks": check_facts(checked, level) if checked else None,
        "rubric": _judged(verdicts, rubric, level) if verdicts else None,
    }


def _answers(rows: list[Row]) -> dict[str, Any]:
    """How a subject answers a set: cut off, how long, how varied."""
    return {
        "n": len(rows),
        "truncated": mean([float(row["finish_reason"] == "length") for row in rows]),
        "tokens": mean([row["completion_tokens"] for row in rows if row["completion_tokens"] is not None]),
        "words": mean([len(row["answer"].split()) for row in rows]),
        "distinct": mean([len({row["answer"] for row in rows}) / len(rows)]),
        "empty": sum(not row["answer"].strip() for row in rows),
    }


def _marked(rows: list[Row], markers: int | None, level: float) -> dict[str, Any]:
    most = (0.0, float(markers)) if markers else None
    raw = estimate([(row["prompt_id"], row["raw"]) for row in rows], bounds=most, level=level)
    capped = estimate([(row["prompt_id"], row["capped"]) for row in rows], bounds=SHARE, level=level)
    counts = Counter(row["raw"] for row in rows)
    return {
        "role": rows[0]["role"],
        "raw": raw.mean,
        "raw_interval": raw.interval,
        "capped": capped.mean,
        "capped_interval": capped.interval,
        "n": raw.n,
        "any": mean([float(row["raw"] > 0) for row in rows]),
        "found": dict(sorted(Counter(marker for row in rows for marker in row["matched"]).items())),
        "histogram": [counts[number] for number in range(max(counts) + 1)],
        "by_category": {category: _marked_category(same, level) for category, same in _by_category(rows)},
    }


def _marked_category(rows: list[Row], level: float) -> dict[str, Any]:
    capped = estimate([(row["prompt_id"], row["capped"]) for row in rows], bounds=SHARE, level=level)
    return {
        "capped": capped.mean,
        "capped_interval": capped.interval,
        "raw": mean([row["raw"] for row in rows]),
        "n": capped.n,
    }


def _by_category(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    found = group((row for row in rows if row["category"] is not None), "category")
    return [(category, found[category,]) for (category,) in sorted(found)]


def _judged(verdicts: list[Row], rubric: Rubric | None, level: float) -> dict[str, Any]:
    """The judges' overall as recorded, and the one recomputed from the components, which counts."""
    recorded, recomputed = rubric_means(verdicts, bounds=_scale(rubric), level=level)
    own = [row for row in verdicts if row["status"] == "scored" and row["judge_overall"] is not None]
    parts = {name: score for name, score in recomputed["by_component"].items() if score is not None}
    judges = group(verdicts, "judge")
    return {
        "recorded": recorded,
        "recomputed": recomputed,
        "bias": mean([row["judge_overall"] - row["overall"] for row in own]),
        "strongest": max(parts, key=lambda name: parts[name], default=None),
        "weakest": min(parts, key=lambda name: parts[name], default=None),
        "by_judge": {judge: _judge(judges[judge,]) for (judge,) in sorted(judges)},
    }


def _judge(verdicts: list[Row]) -> dict[str, Any]:
    scored = [row["overall"] for row in verdicts if row["status"] == "scored"]
    return {"overall": mean(scored), "n": len(scored), "unscored": len(verdicts) - len(scored)}


def _scale(rubric: Rubric | None) -> tuple[float, float] | None:
    return (float(rubric.scale[0]), float(rubric.scale[1])) if rubric else None
