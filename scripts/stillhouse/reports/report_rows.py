"""Reads answers and judgements of an evaluation and arranges them for the page: an index, and what each row says."""

import itertools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.provenance.files import read_parquet_rows
from stillhouse.reports.report_blocks import Block, pack, pack_pages

Row = dict[str, Any]

EXCERPT = 140
"""Characters of a prompt or answer that a list shows."""
HIT_TEXTS, HIT_LENGTH = 5, 200
"""Different texts that a marker's regex may have hit, and their greatest length, kept for highlighting."""
VERDICTS = {None: 0, "first": 1, "tie": 2, "second": 3}
_SPACE = re.compile(r"\s+")


Compared = tuple[str, str, str, str, int, int]
"""first, second, set, prompt_id, and which sample of the first and of the second is compared."""


@dataclass
class Codes:
    """Names as small numbers, in the order in which they were met."""

    numbers: dict[Any, int] = field(default_factory=dict)

    def of(self, name: Any) -> int:
        """The number of `name`; -1 stands for none."""
        return -1 if name is None else self.numbers.setdefault(name, len(self.numbers))

    def names(self) -> list[Any]:
        """All names by number."""
        return list(self.numbers)


@dataclass
class Rows:
    """What the page lists. Columns hold numbers: codes of `names`, or places in another table."""

    names: dict[str, Codes]
    prompts: dict[tuple[str, str], Row] = field(default_factory=dict)
    answers: dict[tuple[str, str, str, int], Row] = field(default_factory=dict)
    comparisons: dict[Compared, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def prompt(self, row: Row) -> Row:
        """The prompt that `row` belongs to; the first row that names it describes it."""
        key = (row["set"], row["prompt_id"])
        if key not in self.prompts:
            about = {name: row.get(name) for name in ("id", "category", "difficulty")}
            self.prompts[key] = {**about, "place": len(self.prompts), "text": row.get("prompt")}
        return self.prompts[key]

    def answer(self, subject: str, row: Row) -> Row:
        """The answer of `subject` that `row` is about; one without a response gets a place of its own, with no text."""
        key = (subject, row["set"], row["prompt_id"], row["sample"])
        if key not in self.answers:
            empty = {"answer": None, "markers": None, "checks": [], "breaks": [], "rubric": []}
            self.answers[key] = {**empty, "place": len(self.answers), "subject": subject, "prompt": self.prompt(row)}
        return self.answers[key]


def read_rows(report: Row, responses: list[Path], judgements: dict[str, Path]) -> Rows:
    """Answers and verdicts out of the parquet files `responses` and `judgements` (by kind, each optional).

    Subjects, sets, categories and pairs stand in the order of report.json; what it does not name follows.
    """
    rows = Rows(_codes(report))
    answered = [row for file in sorted(responses) for row in read_parquet_rows(file)]
    subjects, sets = rows.names["subjects"], rows.names["sets"]
    answered.sort(key=lambda row: (subjects.of(row["subject"]), sets.of(row["set"]), row["prompt_id"], row["sample"]))
    for row in answered:
        _add_answer(rows, row)
    readers = {"markers": _add_markers, "checks": _add_check, "breaks": _add_break, "rubric": _add_rubric}
    for kind, reader in readers.items():
        for row in read_parquet_rows(judgements[kind]) if kind in judgements else []:
            reader(rows, row)
    for row in read_parquet_rows(judgements["pairwise"]) if "pairwise" in judgements else []:
        _add_verdict(rows, row)
    return rows


def _codes(report: Row) -> dict[str, Codes]:
    known = {
        "subjects": report["order"],
        "sets": sorted(report["sets"], key=lambda name: report["sets"][name]["place"]),
        "categories": report["categories"],
        "markers": (report["markers"] or {"names": []})["names"],
        "judges": sorted(report["judges"]),
        "pairs": list(report["pairwise"]),
    }
    names = ("subjects", "sets", "categories", "difficulties", "markers", "patterns", "kinds", "judges", "pairs")
    return {kind: Codes({name: place for place, name in enumerate(known.get(kind, []))}) for kind in names}


def _add_answer(rows: Rows, row: Row) -> None:
    said = ("answer", "finish_reason", "completion_tokens", "calls", "system")
    rows.answer(row["subject"], row).update({name: row.get(name) for name in said})


def _add_markers(rows: Rows, row: Row) -> None:
    answer = rows.answer(row["subject"], row)
    answer["raw"], answer["capped"] = row["raw"], row["capped"]
    answer["markers"] = {name: _hit_texts(name, answer["answer"] or "") for name in row["matched"]}


def _hit_texts(name: str, answer: str) -> list[str]:
    """The texts in `answer` that marker `name` (a text or a Python regex) stands for, to be highlighted."""
    if name.lower() in answer.lower():
        return [name]
    try:
        found = re.finditer(name, answer, re.IGNORECASE)
        texts = dict.fromkeys(hit[0] for hit in found if 0 < len(hit[0]) <= HIT_LENGTH)
    except re.error:
        return []
    return list(texts)[:HIT_TEXTS]


def _add_check(rows: Rows, row: Row) -> None:
    kept = {name: row[name] for name in ("number", "kind", "passed", "detail")}
    rows.answer(row["subject"], row)["checks"].append(kept)


def _add_break(rows: Rows, row: Row) -> None:
    kept = {name: row[name] for name in ("judge", "broken", "matched", "reason", "raw", "calls")}
    rows.answer(row["subject"], row)["breaks"].append(kept)


def _add_rubric(rows: Rows, row: Row) -> None:
    names = ("judge", "repeat", "source", "status", "reason", "overall", "judge_overall", "recorded_overall", "raw")
    kept = {name: row[name] for name in (*names, "critical_failures", "calls")}
    rows.answer(row["subject"], row)["rubric"].append({**kept, "components": json.loads(row["components"] or "{}")})


def _add_verdict(rows: Rows, row: Row) -> None:
    rows.answer(row["first"], row)
    rows.answer(row["second"], {**row, "sample": row["second_sample"]})
    key = (row["first"], row["second"], row["set"], row["prompt_id"], row["sample"], row["second_sample"])
    rows.comparisons[key].append(row)


@dataclass(frozen=True)
class Standing:
    """Whether a verdict counts, and whether the one in the other order disagrees with it."""

    counts: bool
    flips: bool


def standings(verdicts: list[Row]) -> list[Standing]:
    """For each verdict of one comparison how it stands.

    Where a judge was asked of one id in both orders, a repeat needs a verdict in both; where in one order only, each
    verdict counts as it is. The summary counts by the same rule.
    """
    orders: dict[tuple[str, str], set[str]] = defaultdict(set)
    places: dict[tuple[str, str, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(verdicts):
        orders[row["id"], row["judge"]].add(row["order"])
        places[row["id"], row["judge"], row["repeat"]][row["order"]].append(place)
    found = [Standing(row["verdict"] is not None, False) for row in verdicts]
    for (line, judge, _), asked in places.items():
        if len(orders[line, judge]) == 2:
            for place in itertools.chain.from_iterable(asked.values()):
                found[place] = Standing(False, False)
            for pair in zip(asked["first_second"], asked["second_first"], strict=False):
                said = [verdicts[place]["verdict"] for place in pair]
                for place in pair:
                    found[place] = Standing(None not in said, None not in said and said[0] != said[1])
    return found


def index(rows: Rows) -> Row:
    """Columns to filter and sort by."""
    answers, comparisons = list(rows.answers.items()), list(rows.comparisons.items())
    tables = {
        "prompts": _columns(_prompt_entry(rows, key, row) for key, row in rows.prompts.items()),
        "answers": _columns(_answer_entry(rows, key, row) for key, row in answers),
        "scores": _columns(_score_entry(rows, row, verdict) for _, row in answers for verdict in row["rubric"]),
        "pairs": _columns(_pair_entry(rows, key) for key, _ in comparisons),
        "verdicts": _columns(
            entry for place, (_, found) in enumerate(comparisons) for entry in _verdict_entries(rows, place, found)
        ),
    }
    return {**tables, "names": {kind: codes.names() for kind, codes in rows.names.items()}}


def _columns(entries: Any) -> Row:
    columns: dict[str, list[Any]] = defaultdict(list)
    for entry in entries:
        for name, value in entry.items():
            columns[name].append(value)
    return dict(columns)


def _prompt_entry(rows: Rows, key: tuple[str, str], row: Row) -> Row:
    return {
        "set": rows.names["sets"].of(key[0]),
        "prompt": key[1],
        "id": row["id"],
        "category": rows.names["categories"].of(row["category"]),
        "difficulty": rows.names["difficulties"].of(row["difficulty"]),
        "start": excerpt(row["text"]),
    }


def _answer_entry(rows: Rows, key: tuple[str, str, str, int], row: Row) -> Row:
    scores = [verdict["overall"] for verdict in row["rubric"] if verdict["overall"] is not None]
    return {
        "subject": rows.names["subjects"].of(key[0]),
        "prompt": row["prompt"]["place"],
        "sample": key[3],
        "start": excerpt(row["answer"]),
        "words": len(row["answer"].split()) if row["answer"] is not None else None,
        "truncated": int(row.get("finish_reason") == "length"),
        "raw": row.get("raw"),
        "markers": [rows.names["markers"].of(name) for name in row["markers"] or {}],
        "score": round(sum(scores) / len(scores), 4) if scores else None,
        "patterns": [
            rows.names["patterns"].of(text)
            for found in row["breaks"]
            if found["judge"] is None
            for text in found["matched"] or ()
        ],
        "broken": _broken(row["breaks"]),
        "checks": [[rows.names["kinds"].of(check["kind"]), check["passed"]] for check in row["checks"]],
    }


def _broken(found: list[Row]) -> int | None:
    """1 where an answer broke character, 0 where not, -1 where judges gave no verdict, None where nobody looked.

    It did where a pattern matched, or more than half of the judges with a verdict say so, as in the summary.
    """
    if not found or any(row["broken"] for row in found if row["judge"] is None):
        return 1 if found else None
    judged = [row["broken"] for row in found if row["judge"] is not None]
    given = [broken for broken in judged if broken is not None]
    return int(2 * sum(given) > len(given)) if given or not judged else -1


def _said_overall(verdict: Row) -> float | None:
    """The overall that the judge or the published run gave."""
    return verdict["recorded_overall"] if verdict["source"] == "recorded" else verdict["judge_overall"]


def _score_entry(rows: Rows, answer: Row, verdict: Row) -> Row:
    return {
        "answer": answer["place"],
        "judge": rows.names["judges"].of(verdict["judge"]),
        "scored": int(verdict["status"] == "scored"),
        "said": int(_said_overall(verdict) is not None),
        "critical": int(bool(verdict["critical_failures"])),
    }


def _pair_entry(rows: Rows, key: Compared) -> Row:
    first, second, name, prompt, sample, second_sample = key
    return {
        "pair": rows.names["pairs"].of(f"{first}_vs_{second}"),
        "prompt": rows.prompts[name, prompt]["place"],
        "first": rows.answers[first, name, prompt, sample]["place"],
        "second": rows.answers[second, name, prompt, second_sample]["place"],
    }


def _verdict_entries(rows: Rows, place: int, verdicts: list[Row]) -> list[Row]:
    return [
        {
            "pair": place,
            "judge": rows.names["judges"].of(row["judge"]),
            "verdict": VERDICTS[row["verdict"]],
            "counts": int(standing.counts),
            "flips": int(standing.flips),
        }
        for row, standing in zip(verdicts, standings(verdicts), strict=True)
    ]


def excerpt(text: str | None) -> str | None:
    """The start of a text on one line."""
    if text is None:
        return None
    start = _SPACE.sub(" ", text[: 4 * EXCERPT]).strip()
    return start if len(start) <= EXCERPT and len(text) <= 4 * EXCERPT else f"{start[:EXCERPT]}…"


def packed(rows: Rows) -> tuple[list[Block], Row]:
    """The blocks of a page, the index first, and for each kind of block the number of its first item."""
    hidden = ("place", "prompt", "subject", "capped")
    answers = ({k: v for k, v in row.items() if k not in hidden} for row in rows.answers.values())
    kinds = {
        "prompts": (row["text"] for row in rows.prompts.values()),
        "answers": answers,
        "pairs": (_said(verdicts) for verdicts in rows.comparisons.values()),
    }
    blocks, starts = [pack("index", index(rows))], {}
    for kind, items in kinds.items():
        pages, starts[kind] = pack_pages(kind, items)
        blocks += pages
    return blocks, starts


def _said(verdicts: list[Row]) -> list[Row]:
    """What the judges said on one comparison."""
    names = ("judge", "repeat", "order", "source", "verdict", "reason", "explanation", "raw", "calls")
    return [
        {**{name: row[name] for name in names}, "axes": json.loads(row["axes"] or "{}"), "counts": standing.counts}
        for row, standing in zip(verdicts, standings(verdicts), strict=True)
    ]
