"""Turns responses and judgements into report.json: every number that a report shows."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from stillhouse.evaluation.gates import GOLD, check_gates
from stillhouse.evaluation.rows import read_responses
from stillhouse.evaluation.rubric_file import Rubric, load_rubric
from stillhouse.evaluation.settings import ReportSettings
from stillhouse.evaluation.statistics import Estimate, estimate, mean, paired_difference, rubric_means, win_rate
from stillhouse.evaluation.worth import Marks, worth_of_judges
from stillhouse.provenance.files import read_parquet_rows, write_json
from stillhouse.study.markers import Markers, load_markers

FORMAT = 1
BASELINES = ("ablation", "vanilla")

Row = dict[str, Any]


def summarise(
    responses: list[Path],
    settings: ReportSettings,
    target: Path,
    *,
    markers: Path | None = None,
    rubric: Path | None = None,
    pairwise: Path | None = None,
    markers_file: Path | None = None,
    rubric_file: Path | None = None,
) -> dict[str, Any]:
    """Write report.json to `target`: from responses, the judgements that there are, and the files behind them.

    `markers`, `rubric` and `pairwise` are judgement files, `markers_file` and `rubric_file` what the study
    names. Facts: whether the gates passed, and the numbers of subjects and answers.
    """
    answers = read_responses(responses)
    marked = read_parquet_rows(markers) if markers else []
    scored = [{**row, "components": json.loads(row["components"])} for row in _rows(rubric)]
    compared = _rows(pairwise)
    known = load_rubric(rubric_file) if rubric_file else None
    marks: Marks = {(row["subject"], row["set"], row["prompt_id"]): row["raw"] for row in marked}
    gates = check_gates(settings.gates, marked)
    width = float(known.scale[1] - known.scale[0]) if known else None
    report = {
        "format": FORMAT,
        "study": settings.study,
        "evaluation": settings.evaluation,
        "sets": _sets(settings, answers),
        "subjects": {name: _subject(name, settings, answers, marked, scored) for name in _order(settings, answers)},
        "order": _order(settings, answers),
        "markers": _markers(load_markers(markers_file)) if markers_file else None,
        "rubric": _rubric(known) if known else None,
        "differences": _differences(settings, marked),
        "pairwise": _pairwise(compared),
        "judges": worth_of_judges(scored, compared, marks, width),
        "gates": gates,
        "examples": _examples(settings, answers, marked, scored),
        "files": _files(target, responses, {"markers": markers, "rubric": rubric, "pairwise": pairwise}),
    }
    write_json(target, report)
    return {"subjects": len(report["subjects"]), "answers": len(answers), "gates_passed": gates["passed"]}


def _rows(file: Path | None) -> list[Row]:
    return read_parquet_rows(file) if file else []


def _order(settings: ReportSettings, answers: list[Row]) -> list[str]:
    """Subjects as the study orders them; those that it does not describe follow by name."""
    present = {row["subject"] for row in answers}
    return [name for name in settings.subjects if name in present] + sorted(present - set(settings.subjects))


def _sets(settings: ReportSettings, answers: list[Row]) -> dict[str, Any]:
    return {
        name: {
            "role": role,
            "place": place,
            "prompts": len({row["prompt_id"] for row in answers if row["set"] == name}),
        }
        for place, (name, role) in enumerate(settings.sets.items())
    }


def _subject(name: str, settings: ReportSettings, answers: list[Row], marked: list[Row], scored: list[Row]) -> Row:
    mine = [row for row in answers if row["subject"] == name]
    verdicts = [row for row in scored if row["subject"] == name]
    return {
        "condition": mine[0]["condition"],
        "system": any(row["system"] for row in mine),
        "described": settings.subjects.get(name, {}),
        "answers": {key: _answers([row for row in mine if row["set"] == key]) for key in settings.sets},
        "markers": {
            key: _marked(rows)
            for key in settings.sets
            if (rows := [row for row in marked if row["subject"] == name and row["set"] == key])
        },
        "rubric": _judged(verdicts) if verdicts else None,
    }


def _answers(rows: list[Row]) -> dict[str, Any]:
    """How a subject answers a set: cut off, how long, how varied."""
    return {
        "n": len(rows),
        "truncated": mean([float(row["finish_reason"] == "length") for row in rows]),
        "tokens": mean([row["completion_tokens"] for row in rows if row["completion_tokens"] is not None]),
        "distinct": mean([len({row["answer"] for row in rows}) / len(rows)]) if rows else None,
        "empty": sum(not row["answer"].strip() for row in rows),
    }


def _marked(rows: list[Row]) -> dict[str, Any]:
    raw = estimate([(row["prompt_id"], row["raw"]) for row in rows])
    capped = estimate([(row["prompt_id"], row["capped"]) for row in rows])
    found = Counter(marker for row in rows for marker in row["matched"])
    return {
        "role": rows[0]["role"],
        "raw": raw.mean,
        "raw_interval": raw.interval,
        "capped": capped.mean,
        "capped_interval": capped.interval,
        "n": raw.n,
        "any": mean([float(row["raw"] > 0) for row in rows]),
        "found": dict(sorted(found.items())),
    }


def _judged(verdicts: list[Row]) -> dict[str, Any]:
    """Recomputed scores, and beside them what the judges wrote as their overall."""
    own = [row for row in verdicts if row["status"] == "scored" and row["judge_overall"] is not None]
    return {
        "recomputed": rubric_means(verdicts),
        "judge": {"overall": mean([row["judge_overall"] for row in own]), "n": len(own)},
        "bias": mean([row["judge_overall"] - row["overall"] for row in own]),
    }


def _markers(known: Markers) -> dict[str, Any]:
    return {"cap": known.cap, "names": list(known.names)}


def _rubric(known: Rubric) -> dict[str, Any]:
    weights = sum(component.weight for component in known.components.values())
    return {
        "scale": list(known.scale),
        "components": {
            name: {"share": component.weight / weights, "place": place, "description": component.description}
            for place, (name, component) in enumerate(known.components.items())
        },
        "critical_failures": known.critical_failures,
    }


def _differences(settings: ReportSettings, marked: list[Row]) -> list[dict[str, Any]]:
    """Marker scores of every subject minus each ablation's (the adapter signal) and each vanilla's, by set."""
    conditions = {row["subject"]: row["condition"] for row in marked}
    names = [name for name in settings.subjects if name in conditions]
    candidates = [name for name in names if conditions[name] not in (GOLD, *BASELINES)]
    pairs = [(c, b) for kind in BASELINES for c in candidates for b in names if conditions[b] == kind]
    return [
        {
            "candidate": candidate,
            "baseline": baseline,
            "kind": "adapter signal" if conditions[baseline] == "ablation" else "over vanilla",
            "set": name,
            "role": role,
            "raw": _difference(marked, candidate, baseline, name, "raw").plain(),
            "capped": _difference(marked, candidate, baseline, name, "capped").plain(),
        }
        for name, role in settings.sets.items()
        for candidate, baseline in pairs
    ]


def _difference(marked: list[Row], candidate: str, baseline: str, name: str, metric: str) -> Estimate:
    first, second = (
        [(row["prompt_id"], row[metric]) for row in marked if row["subject"] == subject and row["set"] == name]
        for subject in (candidate, baseline)
    )
    return paired_difference(first, second)


def _pairwise(compared: list[Row]) -> dict[str, Any]:
    """By pair: win, tie, loss, rate, interval and flips over all judges, and by judge."""
    found: dict[str, Any] = {}
    for first, second in sorted({(row["first"], row["second"]) for row in compared}):
        rows = [row for row in compared if (row["first"], row["second"]) == (first, second)]
        by_judge = {
            judge: win_rate([row for row in rows if row["judge"] == judge])
            for judge in sorted({row["judge"] for row in rows})
        }
        found[f"{first}_vs_{second}"] = {
            "first": first,
            "second": second,
            **win_rate(rows),
            "by_judge": by_judge,
        }
    return found


def _examples(settings: ReportSettings, answers: list[Row], marked: list[Row], scored: list[Row]) -> list[Row]:
    """The first prompts of each set by prompt_id, never chosen by score, with all subjects' answers."""
    found = []
    for name, role in settings.sets.items():
        rows = [row for row in answers if row["set"] == name]
        for prompt in sorted({row["prompt_id"] for row in rows})[: settings.examples]:
            same = {row["subject"]: row for row in rows if row["prompt_id"] == prompt}
            first = next(iter(same.values()))
            found.append(
                {
                    **{column: first[column] for column in ("id", "category", "difficulty", "prompt", "prompt_id")},
                    "set": name,
                    "role": role,
                    "answers": [_example(same[s], marked, scored) for s in _order(settings, answers) if s in same],
                }
            )
    return found


def _example(row: Row, marked: list[Row], scored: list[Row]) -> dict[str, Any]:
    key = (row["subject"], row["set"], row["prompt_id"])
    matched = [mark["matched"] for mark in marked if (mark["subject"], mark["set"], mark["prompt_id"]) == key]
    overall = [
        verdict["overall"]
        for verdict in scored
        if (verdict["subject"], verdict["set"], verdict["prompt_id"]) == key and verdict["status"] == "scored"
    ]
    return {
        "subject": row["subject"],
        "answer": row["answer"],
        "truncated": row["finish_reason"] == "length",
        "matched": matched[0] if matched else None,
        "rubric": mean(overall),
        "calls": row["calls"],
    }


def _files(target: Path, responses: list[Path], judgements: dict[str, Path | None]) -> dict[str, Any]:
    """Where the numbers came from, relative to the report, so that moving a study changes no byte."""
    here = target.parent
    return {
        "responses": sorted(_beside(path, here) for path in responses),
        "judgements": {kind: _beside(path, here) for kind, path in judgements.items() if path},
    }


def _beside(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
