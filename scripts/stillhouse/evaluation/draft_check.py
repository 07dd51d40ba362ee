"""The external check of a tournament: blind judges compare its final answers with its first drafts.

A draft that nothing changed is no question: it counts as a tie by identity, and nobody is asked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.asking import read_template
from stillhouse.evaluation.pairwise import ORDERS, PAIRWISE, TEMPLATE, Pair, judge_row_pairs, verdict_facts
from stillhouse.evaluation.rows import Row
from stillhouse.evaluation.settings import CheckSettings
from stillhouse.evaluation.statistics import POINTS, complete_pairs, estimate, mean, sign_test
from stillhouse.llm.client import Client
from stillhouse.provenance.files import parquet_columns, read_parquet_rows, write_parquet

FINAL, DRAFT = "final", "draft"
ANSWERED = ["prompt_id", "set", "id", "category", "prompt", "answer", "draft"]
COMPARED = ("first", "second", "set", "prompt_id", "id", "judge", "order", "verdict", "raw", "calls")
CHECK = pa.schema(
    [
        *(PAIRWISE.field(name) for name in COMPARED),
        ("category", pa.string()),
        ("identical", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def check_drafts(
    answers: Path, clients: Mapping[str, Client], settings: CheckSettings, target: Path, template: Path = TEMPLATE
) -> dict[str, Any]:
    """Write one row a verdict to `target`, `first` being the final answer and `second` the draft.

    `answers` is a tournament's answers.parquet. A prompt whose answer is its draft to the byte has one row, with
    no judge. Facts: numbers of prompts, of identical ones, of verdicts, unscored ones and failed calls. Raises
    `InputError` for a bad template, `EvaluationError` when a judge is out.
    """
    rows = sorted(_first_samples(answers), key=_place)[: settings.limit]
    changed = [row for row in rows if row["answer"] != row["draft"]]
    judges = [clients[judge] for judge in sorted(set(settings.judges))]
    verdicts = judge_row_pairs([_pair(row) for row in changed], judges, settings.sampling, read_template(template))
    categories = {_place(row): row["category"] for row in changed}
    found = [{**row, "category": categories[_place(row)], "identical": False} for row in verdicts]
    found += [_identical(row) for row in rows if row["answer"] == row["draft"]]
    write_parquet(target, sorted(found, key=_order), CHECK)
    return {"prompts": len(rows), "identical": len(rows) - len(changed), **verdict_facts(verdicts)}


def _first_samples(answers: Path) -> list[Row]:
    """One answer a prompt: the first of several samples. Older files have no column for them."""
    columns = [*ANSWERED, "sample"] if "sample" in parquet_columns(answers) else ANSWERED
    return [row for row in read_parquet_rows(answers, columns) if not row.get("sample")]


def _place(row: Row) -> tuple[str, str]:
    return row["prompt_id"], row["set"]


def _order(row: Row) -> tuple[object, ...]:
    return *_place(row), row["judge"] or "", ORDERS.index(row["order"]) if row["order"] else 0


def _pair(row: Row) -> Pair:
    shared = {name: row[name] for name in ("set", "prompt_id", "id", "prompt")}
    return {**shared, "subject": FINAL, "answer": row["answer"]}, {**shared, "subject": DRAFT, "answer": row["draft"]}


def _identical(row: Row) -> Row:
    told = {name: row[name] for name in ("set", "prompt_id", "id", "category")}
    said = {"first": FINAL, "second": DRAFT, "verdict": "tie", "identical": True, "calls": []}
    return {**dict.fromkeys(CHECK.names), **told, **said}


@dataclass(frozen=True)
class Compared:
    """One judge's comparison of one prompt: points of the final answer, and whether the two orders disagreed."""

    prompt: tuple[str, str]
    judge: str | None  # None: identical texts, nobody asked
    points: float
    flipped: bool


def summarise_check(rows: list[Row]) -> dict[str, Any]:
    """What the verdicts of check.parquet say, over all prompts, by judge and by category.

    A comparison counts when both orders have a verdict. Where they disagree it is a tie and a flip. A prompt is
    won where its judges' mean points are above one half; `rate` is the mean of the prompts' points.
    """
    judges = sorted({row["judge"] for row in rows if row["judge"] is not None})
    categories: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        categories[row["category"]].append(row)
    names = sorted(categories, key=lambda name: (name is None, name or ""))
    return {
        **_summary(rows),
        "by_judge": {judge: _by_judge([row for row in rows if row["judge"] in (judge, None)]) for judge in judges},
        "categories": [{"category": name, **_summary(categories[name])} for name in names],
    }


def _by_judge(rows: list[Row]) -> dict[str, Any]:
    """The same for one judge, and how often it chose what it was shown first; one half is fair."""
    decided = [row for row in rows if not row["identical"] and row["verdict"] in ("first", "second")]
    shown = [float((row["verdict"] == "first") == (row["order"] == ORDERS[0])) for row in decided]
    return {**_summary(rows), "decided": len(decided), "first_shown_share": mean(shown)}


def _summary(rows: list[Row]) -> dict[str, Any]:
    asked = [row for row in rows if not row["identical"]]
    compared = [_compared(pair) for pair in complete_pairs(asked)]
    same = [Compared(_place(row), None, POINTS["tie"], False) for row in rows if row["identical"]]
    prompts = {_place(row) for row in rows}
    answered = {one.prompt for one in (*compared, *same)}
    return {
        "prompts": len(prompts),
        "identical": len(same),
        "unjudged": len(prompts - answered),
        **_counted([*compared, *same]),
        "changed": _counted(compared),
        "comparisons": len(compared),
        "flips": sum(one.flipped for one in compared),
        "flip_rate": mean([float(one.flipped) for one in compared]),
        "incomplete": len(asked) - 2 * len(compared),
    }


def _compared(pair: tuple[Row, Row]) -> Compared:
    one, other = pair
    flipped = one["verdict"] != other["verdict"]
    points = POINTS["tie"] if flipped else POINTS[one["verdict"]]
    return Compared(_place(one), one["judge"], points, flipped)


def _counted(compared: Iterable[Compared]) -> dict[str, Any]:
    """Prompts won, tied and lost, the rate with its interval over prompts, and p of the sign test."""
    points: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in compared:
        points[one.prompt].append(one.points)
    means = {prompt: fmean(values) for prompt, values in points.items()}
    rate = estimate([(" ".join(prompt), value) for prompt, value in means.items()])
    win, loss = (sum(sign * (value - POINTS["tie"]) > 0 for value in means.values()) for sign in (1, -1))
    return {
        "win": win,
        "tie": len(means) - win - loss,
        "loss": loss,
        "rate": rate.mean,
        "interval": rate.interval,
        "sign_test": sign_test(win, loss),
    }
