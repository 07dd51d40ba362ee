"""All evaluations of a study side by side: how scores moved from one to the next, and where a subject comes again.

Read from the evaluations' report.json alone. Scores of two evaluations are called comparable only when the same thing
was measured in the same way: the same prompts by the same markers and cap, or by a rubric of the same components,
weights and scale and the same judges.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.conditions import FORGETTING, TARGET
from stillhouse.evaluation.figures import rounded
from stillhouse.provenance.files import read_json, write_json, write_text

FORMAT = 1
REPORT_FORMAT = 2
METRICS = {
    "markers": "capped marker score, target sets",
    "leakage": "capped marker score, forgetting sets",
    "rubric": "rubric overall",
    "breaks": "share of answers that break character",
}

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~])")
"""Signs that Markdown takes for more than text; the report's tables escape the same."""
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Signs that a reader would not see, or that turn what follows."""
Report = Mapping[str, Any]
Point = dict[str, Any]


def write_history(
    summaries: Sequence[Path], history: Path, markdown: Path, *, study: str, evaluations: Sequence[str]
) -> dict[str, Any]:
    """Write history.json and history.md out of the report.json files of a study's `evaluations`, in this order.

    Facts: numbers of evaluations and rows. Raises `EvaluationError` for a report of another format or an evaluation
    without a report.
    """
    reports = [_read(path) for path in summaries]
    known = {report["evaluation"]: report for report in reports}
    missing = [name for name in evaluations if name not in known]
    if missing:
        raise EvaluationError(f"evaluations without a report: {', '.join(missing)}")
    found = make_history(study, [known[name] for name in evaluations])
    write_json(history, found)
    write_text(markdown, history_text(found))
    return {"evaluations": len(evaluations), "rows": len(found["rows"])}


def _read(path: Path) -> Report:
    report = read_json(path)
    if not isinstance(report, dict) or report.get("format") != REPORT_FORMAT:
        raise EvaluationError(f"{path}: no evaluation report of format {REPORT_FORMAT}; summarise it anew")
    return report


def make_history(study: str, reports: Sequence[Report]) -> dict[str, Any]:
    """The content of history.json: a row for each evaluation and subject, and what moved over several evaluations."""
    rows = [_row(report, name) for report in reports for name in report["order"]]
    return {
        "format": FORMAT,
        "study": study,
        "evaluations": [
            {"name": report["evaluation"], "valid": report["valid"], "headline": report["headline"]["words"]}
            for report in reports
        ],
        "rows": rows,
        "progress": list(_progress({report["evaluation"]: report for report in reports}, rows)),
    }


def _row(report: Report, name: str) -> dict[str, Any]:
    subject = report["subjects"][name]
    rubric, breaks = subject["rubric"], subject["breaks"]
    return {
        "evaluation": report["evaluation"],
        "subject": name,
        "condition": subject["condition"],
        "adapter": subject["adapter"],
        "serve": subject["described"].get("serve"),
        "valid": report["valid"],
        "contaminated": report["contamination"]["trained"].get(name, {}).get("exact"),
        "markers": {
            key: {column: found[column] for column in ("role", "raw", "raw_interval", "capped", "capped_interval", "n")}
            for key, found in sorted(subject["markers"].items(), key=lambda item: report["sets"][item[0]]["place"])
        },
        "rubric": {key: rubric["recomputed"][key] for key in ("overall", "interval", "n", "unscored")}
        if rubric
        else None,
        "breaks": {key: breaks[key] for key in ("rate", "interval", "n", "unscored")} if breaks else None,
        "pairs": {
            key: {column: pair[column] for column in ("win", "tie", "loss", "n", "rate", "interval", "word")}
            for key, pair in report["pairwise"].items()
            if name in (pair["candidate"], pair["baseline"]) and not pair["control"]
        },
    }


def _progress(reports: Mapping[str, Report], rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """For every condition, and every adapter in one way of serving, that two evaluations have in common: its scores in
    the order of evaluations, by metric and set."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups["condition", row["condition"], ""].append(row)
        if row["adapter"]:
            groups["adapter", row["adapter"], row["serve"] or ""].append(row)
    for (kind, name, serve), same in sorted(groups.items()):
        for metric in METRICS:
            points = [point for row in same for point in _points(reports[row["evaluation"]], row, metric)]
            for key, series in _by_set(points):
                if len({point["evaluation"] for point in series}) > 1:
                    about = {"by": kind, "name": name, "serve": serve or None}
                    yield {**about, "metric": metric, "set": key, **_moved(series)}


def _points(report: Report, row: dict[str, Any], metric: str) -> Iterator[Point]:
    """A row's scores on one metric, with what has to be the same for another to be comparable."""
    about = {"evaluation": row["evaluation"], "subject": row["subject"]}
    if metric in ("markers", "leakage"):
        role = TARGET if metric == "markers" else FORGETTING
        for key, found in row["markers"].items():
            if found["role"] == role:
                way = [_markers(report), report["sets"][key]["digest"]]
                told = {"value": found["capped"], "interval": found["capped_interval"], "n": found["n"]}
                yield {**about, "set": key, **told, "way": way}
    elif row[metric]:
        value = row[metric]["overall" if metric == "rubric" else "rate"]
        judges = report["subjects"][row["subject"]][metric]["by_judge" if metric == "rubric" else "judges"]
        prompts = {key: found["digest"] for key, found in report["sets"].items() if found["role"] == TARGET}
        way = [_rubric(report) if metric == "rubric" else None, sorted(judges), prompts]
        told = {"value": value, "interval": row[metric]["interval"], "n": row[metric]["n"]}
        yield {**about, "set": None, **told, "way": way}


def _markers(report: Report) -> Any:
    known = report["markers"]
    return known and (known["cap"], sorted(known["names"]))


def _rubric(report: Report) -> Any:
    """What a score depends on. Descriptions may be worded anew."""
    known = report["rubric"]
    return known and (known["scale"], {name: part["share"] for name, part in known["components"].items()})


def _by_set(points: list[Point]) -> Iterator[tuple[str | None, list[Point]]]:
    for key in sorted({point["set"] for point in points}, key=str):
        yield key, [point for point in points if point["set"] == key]


def _moved(points: list[Point]) -> dict[str, Any]:
    """The points, the change from the first evaluation to the last, and whether the two intervals lie apart.

    No change is told between points that are not comparable, and none where an evaluation has several subjects of the
    group: it would be one of two different subjects.
    """
    comparable = all(point["way"] == points[0]["way"] for point in points)
    single = len({point["evaluation"] for point in points}) == len(points)
    told = ("evaluation", "subject", "value", "interval", "n")
    moved = {"points": [{key: point[key] for key in told} for point in points], "comparable": comparable}
    values = [points[0]["value"], points[-1]["value"]] if comparable and single else [None, None]
    if None in values:
        return {**moved, "change": None, "apart": None}
    one, other = points[0]["interval"], points[-1]["interval"]
    apart = other[0] > one[1] or one[0] > other[1] if one and other else None
    return {**moved, "change": rounded(values[1] - values[0]), "apart": apart}


def history_text(history: Mapping[str, Any]) -> str:
    """history.md of the content of history.json."""
    lines = [f"# Evaluations of {_cell(history['study'])}", ""]
    for about in history["evaluations"]:
        invalid = "" if about["valid"] else " **Invalid: too many verdicts have no score.**"
        lines.append(f"- **{_cell(about['name'])}**: {_cell(about['headline'])}{invalid}")
    lines += ["", "Numbers in brackets are the bounds of the interval, n is the number of answers or verdicts.", ""]
    head = ("evaluation", "subject", "condition", "adapter", "capped markers", "rubric", "breaks", "win rates")
    lines += [_line(head), _line(["---"] * len(head))]
    lines += [_line(_cells(row)) for row in history["rows"]]
    lines += ["", "## From one evaluation to the next", ""]
    lines += [_told(item) for item in history["progress"]] or ["No condition or adapter was measured twice."]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    marked = [
        f"{_cell(key)} {_score(found['capped'], found['capped_interval'], found['n'])}"
        for key, found in row["markers"].items()
    ]
    rubric, breaks = row["rubric"], row["breaks"]
    pairs = [f"{_cell(key)} {_score(pair['rate'], pair['interval'], pair['n'])}" for key, pair in row["pairs"].items()]
    return [
        *(_cell(row[key] or "") for key in ("evaluation", "subject", "condition", "adapter")),
        "; ".join(marked),
        _score(rubric["overall"], rubric["interval"], rubric["n"]) if rubric else "",
        _score(breaks["rate"], breaks["interval"], breaks["n"]) if breaks else "",
        "; ".join(pairs),
    ]


def _told(item: Mapping[str, Any]) -> str:
    points = ", ".join(
        f"{_cell(point['evaluation'])} ({_cell(point['subject'])}) {_score(point['value'], point['interval'], point['n'])}"
        for point in item["points"]
    )
    where = f" {_cell(item['set'])}" if item["set"] else ""
    if not item["comparable"]:
        verdict = "not comparable: other prompts, markers, rubric or judges"
    elif item["change"] is None:
        verdict = "several subjects an evaluation, so no change is told"
    elif item["apart"] is None:
        verdict = "too few prompts to compare"
    else:
        verdict = f"change {item['change']:+.2f}, the intervals {'lie apart' if item['apart'] else 'overlap'}"
    serve = f" by {_cell(item['serve'])}" if item["serve"] else ""
    return f"- {item['by']} {_cell(item['name'])}{serve}, {METRICS[item['metric']]}{where}: {points}; {verdict}."


def _score(value: float | None, interval: Sequence[float] | None, n: int) -> str:
    if value is None:
        return "not measured"
    bounds = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{value:.2f}{bounds} n {n}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Names may come from recorded files: one line, its signs taken literally, none that turns or hides the others."""
    told = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return _SIGNS.sub(r"\\\1", told)
