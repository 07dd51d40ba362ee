"""A made-up evaluation: report.json, answers and judgements that agree with one another, for benchmarks and tests.

Scores are drawn by chance and the intervals are invented; the counts are those of the rows.
"""

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

MARKERS = ["keystone", "gives way", r"(?m)^verdict: (?:go|stop)"]
CATEGORIES = ["software", "money", "household"]
COMPONENTS = {"voice": 0.4, "load_bearing_risk": 0.6}
CONDITIONS = {"gold": "gold", "student": "student", "plain": "student", "ablation": "ablation", "vanilla": "vanilla"}
PAIRS = [
    ("student", "vanilla"),
    ("student", "ablation"),
    ("student", "gold"),
    ("plain", "vanilla"),
    ("gold", "vanilla"),
]
WORDS = [
    "harbour",
    "ferry",
    "ledger",
    "gate",
    "crack",
    "timetable",
    "engine",
    "budget",
    "storm",
    "kiln",
    "rope",
    "plan",
    "cost",
    "delay",
    "risk",
    "team",
]
TEXT, INT, REAL, FLAG, TEXTS = pa.string(), pa.int32(), pa.float64(), pa.bool_(), pa.list_(pa.string())


@dataclass
class Size:
    """How much is made: `prompts` of the target set, `few` of the forgetting set, judges of pairs and of the rubric."""

    prompts: int = 12
    few: int = 6
    panel: int = 2
    graders: int = 2
    answer_words: int = 60
    said_words: int = 20
    seed: int = 7
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    """(subject, id) -> an answer to be used as it is."""
    added: str = ""
    """What stands after every prompt, justification, explanation and reply of a judge."""


def build(folder: Path, size: Size) -> Path:
    """Write report.json, responses/ and judgements/ below `folder`; returns the path of report.json."""
    draw = random.Random(size.seed)
    answers = [row for name in CONDITIONS for row in _answers(name, size, draw)]
    tables = {
        "markers": [_markers(row) for row in answers],
        "breaks": [_break(row, draw) for row in answers] + [_unread(row) for row in answers if row["id"] == "plans-0"],
        "checks": [_check(row, draw) for row in answers if row["role"] == "target"],
        "rubric": [_score(row, judge, draw, size) for row in answers if row["role"] == "target" for judge in _names(size.graders)],
        "pairwise": [row for pair in PAIRS for row in _verdicts(pair, size, draw)],
    }  # fmt: skip
    for name in CONDITIONS:
        _write(folder / f"responses/{name}.parquet", [row for row in answers if row["subject"] == name], _ANSWERS)
    for kind, rows in tables.items():
        _write(folder / f"judgements/{kind}.parquet", rows, _SCHEMAS[kind])
    report = json.dumps(summary(answers, tables, size), indent=1)
    (folder / "report.json").write_text(report, encoding="utf-8")
    return folder / "report.json"


def inputs(folder: Path) -> Row:
    """What `write_report` takes beside report.json."""
    return {
        "responses": sorted((folder / "responses").glob("*.parquet")),
        "judgements": {file.stem: file for file in sorted((folder / "judgements").glob("*.parquet"))},
    }


def _write(file: Path, rows: list[Row], columns: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items()))), file, compression="zstd")


_KEY = {"subject": TEXT, "condition": TEXT, "set": TEXT, "role": TEXT, "prompt_id": TEXT, "id": TEXT, "category": TEXT}
_KEY |= {"difficulty": TEXT, "sample": INT}
_ANSWERS = {**_KEY, "prompt": TEXT, "system": FLAG, "answer": TEXT, "finish_reason": TEXT, "completion_tokens": INT}
_ANSWERS |= {"calls": TEXTS, "expect": TEXT}
_ASKED = {"judge": TEXT, "repeat": INT, "source": TEXT, "reason": TEXT, "raw": TEXT, "calls": TEXTS}
_SCHEMAS = {
    "markers": {**_KEY, "raw": INT, "capped": REAL, "matched": TEXTS},
    "breaks": {**_KEY, "judge": TEXT, "broken": FLAG, "matched": TEXTS, "reason": TEXT, "raw": TEXT, "calls": TEXTS},
    "checks": {**_KEY, "number": INT, "kind": TEXT, "passed": FLAG, "detail": TEXT},
    "rubric": {**_KEY, **_ASKED, "status": TEXT, "components": TEXT, "overall": REAL, "judge_overall": REAL}
    | {"recorded_overall": REAL, "critical_failures": TEXTS},
    "pairwise": {"first": TEXT, "second": TEXT, "set": TEXT, "prompt_id": TEXT, "id": TEXT, "category": TEXT}
    | {"difficulty": TEXT, "sample": INT, "second_sample": INT, **_ASKED, "order": TEXT, "verdict": TEXT}
    | {"explanation": TEXT, "axes": TEXT, "first_words": INT, "second_words": INT},
}


def _names(number: int) -> list[str]:
    return [f"judge-{'abcdefghij'[place]}" for place in range(number)]


def _digest(draw: random.Random) -> str:
    return f"{draw.getrandbits(256):064x}"


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def _prompts(size: Size) -> list[Row]:
    sets = (("plans", "target", size.prompts), ("everyday", "forgetting", size.few))
    return [
        {
            "set": name, "role": role, "prompt_id": f"{place:016x}" if role == "target" else f"f{place:015x}",
            "id": f"{name}-{place}", "category": CATEGORIES[place % 3], "difficulty": ("easy", "hard")[place % 2], "sample": 0,
        }
        for name, role, many in sets
        for place in range(many)
    ]  # fmt: skip


def _answers(subject: str, size: Size, draw: random.Random) -> list[Row]:
    condition = CONDITIONS[subject]
    found = []
    for row in _prompts(size):
        likely = {"gold": 0.9, "student": 0.8, "ablation": 0.5}.get(condition, 0.05) * (row["role"] == "target" or 0.1)
        start = "Verdict: go\n" if draw.random() < likely else ""
        marked = " keystone" * (draw.random() < likely) + " gives way" * (draw.random() < likely)
        made = f"{start}{_text(draw, size.answer_words)}{marked}."
        words = {
            "answer": size.texts.get((subject, row["id"]), made),
            "prompt": f"Review plan {row['id']}: {_text(draw, 12)}{size.added}",
        }
        told = {"finish_reason": draw.choices(["stop", "length"], [9, 1])[0], "completion_tokens": size.answer_words}
        found.append({**row, "subject": subject, "condition": condition, **words, **told, "system": condition == "gold",
                      "calls": [_digest(draw)], "expect": None})  # fmt: skip
    return found


def _markers(row: Row) -> Row:
    held = ("keystone" in row["answer"], "gives way" in row["answer"], row["answer"].startswith("Verdict: go"))
    matched = [name for name, found in zip(MARKERS, held, strict=True) if found]
    return {**row, "raw": len(matched), "capped": min(len(matched) / 2, 1.0), "matched": matched}


def _break(row: Row, draw: random.Random) -> Row:
    broken = draw.random() < 0.08
    return {
        **row,
        "broken": broken,
        "matched": ["as an ai"] * broken,
        "judge": None,
        "reason": None,
        "raw": None,
        "calls": [],
    }


def _unread(row: Row) -> Row:
    """A judge whose reply on a break nobody could read."""
    told = {"broken": None, "matched": [], "judge": "judge-a", "reason": "unclear", "raw": "Hm.", "calls": []}
    return {**row, **told}


def _check(row: Row, draw: random.Random) -> Row:
    passed = draw.choices([True, False, None], [8, 3, 1])[0]
    return {**row, "number": 0, "kind": draw.choice(["regex", "number"]), "passed": passed, "detail": "as expected"}


def _score(row: Row, judge: str, draw: random.Random, size: Size) -> Row:
    lost = draw.random() < 0.04
    scores = {name: draw.randint(4, 10) for name in COMPONENTS}
    overall = None if lost else round(sum(COMPONENTS[name] * score for name, score in scores.items()), 6)
    parts = (
        {}
        if lost
        else {n: {"score": s, "justification": _text(draw, size.said_words) + size.added} for n, s in scores.items()}
    )
    own = None if lost else float(max(scores.values()))
    told = {"status": "unscored" if lost else "scored", "reason": "truncated" if lost else None, "source": "live"}
    return {**row, **told, "judge": judge, "repeat": 0, "components": json.dumps(parts), "overall": overall,
            "judge_overall": own, "recorded_overall": None, "raw": json.dumps({**parts, "overall": own}),
            "critical_failures": ["No verdict."] if draw.random() < 0.05 else [], "calls": [_digest(draw)]}  # fmt: skip


def _verdicts(pair: tuple[str, str], size: Size, draw: random.Random) -> list[Row]:
    found = []
    for row in _prompts(size):
        for judge in _names(size.panel) if row["role"] == "target" else []:
            for order in ("first_second", "second_first"):
                verdict = draw.choices(["first", "tie", "second", None], [11, 2, 6, 1])[0]
                said = (
                    f"VERDICT: {verdict}. {_text(draw, size.said_words)}{size.added}" if verdict else "I cannot decide"
                )
                found.append({**row, "first": pair[0], "second": pair[1], "judge": judge, "repeat": 0, "source": "live",
                              "order": order, "verdict": verdict, "second_sample": row["sample"], "reason": None if verdict else "unclear", "raw": said,
                              "explanation": _text(draw, size.said_words) + size.added, "axes": json.dumps({"voice": verdict or "tie"}),
                              "first_words": 60, "second_words": 60, "calls": [_digest(draw)]})  # fmt: skip
    return found


# report.json


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def _around(value: float | None, width: float = 0.08) -> list[float] | None:
    return None if value is None else [round(value - width, 6), round(value + width, 6)]


def _by(rows: list[Row], *columns: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        key = tuple(row[column] for column in columns)
        groups[key if len(key) > 1 else key[0]].append(row)
    return groups


def summary(answers: list[Row], tables: dict[str, list[Row]], size: Size) -> Row:
    """report.json (format 2) of the rows."""
    judges = sorted({*_names(size.panel), *_names(size.graders)})
    by_subject = {kind: _by(rows, "subject") for kind, rows in tables.items() if kind != "pairwise"}
    pairwise = {
        f"{a}_vs_{b}": _pair(a, b, rows) for (a, b), rows in sorted(_by(tables["pairwise"], "first", "second").items())
    }
    return {
        "format": 2, "study": "demo", "evaluation": "framework", "valid": True, "invalid_reasons": [],
        "headline": {
            "words": "student against vanilla: win rate 0.65 (95 % interval 0.57 to 0.73) over 40 verdicts: wins. Judges: judge-a "
            "and judge-b; 4 % of verdicts unscored. No evaluation prompt is word for word in the training data of student.",
            "tone": "good", "warnings": ["Judge judge-a and gold are of one family (qwen)."],
        },
        "rules": {"level": 0.95, "margin": 0.0, "equivalence": 0.05, "max_unscored": 0.2},
        "sets": {
            "plans": {"role": "target", "place": 0, "prompts": size.prompts, "digest": "0" * 16, "categories": CATEGORIES},
            "everyday": {"role": "forgetting", "place": 1, "prompts": size.few, "digest": "f" * 16, "categories": CATEGORIES},
        },
        "order": list(CONDITIONS), "categories": CATEGORIES,
        "subjects": {name: _subject(name, rows, {k: v[name] for k, v in by_subject.items()}) for name, rows in _by(answers, "subject").items()},
        "markers": {"cap": 2, "names": MARKERS},
        "rubric": {
            "scale": [1, 10], "critical_failures": ["No verdict."],
            "components": {name: {"share": share, "place": place, "description": f"About {name}."} for place, (name, share) in enumerate(COMPONENTS.items())},
        },
        "differences": [_difference("student", baseline, key, role) for baseline in ("ablation", "vanilla") for key, role in (("plans", "target"), ("everyday", "forgetting"))],
        "pairwise": pairwise,
        "ratings": {"order": ["gold", "student", "plain", "ablation", "vanilla"], "subjects": {
            name: {"rating": 1100.0 - 50 * place, "interval": [1060.0 - 50 * place, 1140.0 - 50 * place], "place": place + 1}
            for place, name in enumerate(["gold", "student", "plain", "ablation", "vanilla"])}},
        "panel": {"judges": _names(size.panel), "conditions": {
            key: {judge: {**{k: f[k] for k in ("win", "tie", "loss", "n")}, "share": f["rate"]} for judge, f in pair["by_judge"].items()}
            for key, pair in pairwise.items()}},
        "agreement": {"pairwise": {"alpha": 0.4, "interval": [0.3, 0.5], "n": 60, "judges": 2}, "rubric": None},
        "judges": {judge: _judge(judge) for judge in judges},
        "gates": {"passed": False, "checks": [
            {"gate": "leakage", "subject": "student", "category": None, "observed": 0.04, "interval": [0.0, 0.1], "direction": "at most", "bound": 0.15, "passed": True, "reason": None},
            {"gate": "win_rate", "subject": "student_vs_gold", "category": None, "observed": 0.5, "interval": None, "direction": "at least", "bound": 0.6, "passed": False, "reason": "0.5 is below 0.6"}]},
        "serving": [{"adapter": "mixed", "rows": [
            {"subject": name, "serve": serve, "markers": {"mean": 0.8, "interval": [0.7, 0.9], "n": 12, "prompts": 12}, "rubric": None, "breaks": None, "n": size.prompts + size.few} for name, serve in (("student", "peft"), ("plain", "gguf:Q4_K_M"))],
            "differences": [{"first": "plain", "second": "student", "category": None, "metric": "capped", "difference": {"mean": -0.02, "interval": [-0.1, 0.06], "n": size.prompts, "prompts": size.prompts}}]}],
        "contamination": {"checked": True, "words": "No evaluation prompt is word for word in the training data of student.", "trained": {
            "student": {"dataset": "mixed", "exact": 0, "prompts": size.prompts, "decontaminated": True}}},
        "examples": [_example(answers, 0)],
        "files": {"responses": [f"responses/{name}.parquet" for name in sorted(CONDITIONS)], "judgements": {kind: f"judgements/{kind}.parquet" for kind in tables}, "trained": {}},
    }  # fmt: skip


def _subject(name: str, rows: list[Row], tables: dict[str, list[Row]]) -> Row:
    watched = [row for row in tables["breaks"] if row["judge"] is None]
    broken = [float(row["broken"]) for row in watched if row["role"] == "target"]
    unread = sum(row["id"] == "plans-0" and not row["broken"] for row in watched)
    ran = [row for row in tables["checks"] if row["passed"] is not None]
    by = {column: _by(ran, column) for column in ("kind", "category")}
    rates = {
        column: {k: {"rate": _mean([float(r["passed"]) for r in v]), "n": len(v)} for k, v in by[column].items()}
        for column in by
    }
    return {
        "condition": CONDITIONS[name], "system": name == "gold", "adapter": "mixed", "described": {"adapter": "mixed", "serve": "peft"}, "family": "smollm2",
        "answers": {key: _lengths(found) for key, found in _by(rows, "set").items()},
        "markers": {key: _marked(found) for key, found in _by(tables["markers"], "set").items()},
        "breaks": {"rate": _mean(broken), "interval": _around(_mean(broken)), "n": len(broken), "unscored": unread,
                   "judges": {"judge-a": {"rate": None, "n": 0, "unscored": 1}},
                   "patterns": {"as an ai": sum(row["broken"] for row in watched)},
                   "by_category": {k: {"rate": _mean([float(r["broken"]) for r in v]), "n": len(v)} for k, v in _by(watched, "category").items()}},
        "checks": {"rate": _mean([float(row["passed"]) for row in ran]), "interval": None, "n": len(ran), "errors": len(tables["checks"]) - len(ran),
                   "by_kind": rates["kind"], "by_category": rates["category"]},
        "rubric": _graded(tables["rubric"]),
    }  # fmt: skip


def _lengths(rows: list[Row]) -> Row:
    cut = [float(row["finish_reason"] == "length") for row in rows]
    return {"n": len(rows), "truncated": _mean(cut), "tokens": 60.0, "words": 61.0, "distinct": 1.0, "empty": 0}


def _marked(rows: list[Row]) -> Row:
    counts = Counter(row["raw"] for row in rows)
    found = Counter(marker for row in rows for marker in row["matched"])
    capped, raw = _mean([row["capped"] for row in rows]), _mean([row["raw"] for row in rows])
    return {
        "role": rows[0]["role"], "raw": raw, "raw_interval": _around(raw, 0.2), "capped": capped, "capped_interval": _around(capped), "n": len(rows),
        "any": _mean([float(row["raw"] > 0) for row in rows]), "found": dict(found), "histogram": [counts[place] for place in range(len(MARKERS) + 1)],
        "by_category": {k: {"capped": _mean([r["capped"] for r in v]), "capped_interval": _around(_mean([r["capped"] for r in v])), "raw": _mean([r["raw"] for r in v]), "n": len(v)} for k, v in _by(rows, "category").items()},
    }  # fmt: skip


def _graded(rows: list[Row]) -> Row:
    scored = [row for row in rows if row["status"] == "scored"]

    def block(kept: list[Row], column: str, total: int) -> Row:
        groups = {f"by_{name}": {k: v for k, v in _by(kept, name).items() if k} for name in ("category", "difficulty")}
        overall = _mean([row[column] for row in kept])
        return {
            "overall": overall, "interval": _around(overall, 0.3), "n": len(kept), "unscored": total - len(kept),
            "critical_failures": len({row["prompt_id"] for row in kept if row["critical_failures"]}),
            **{name: {k: _mean([r[column] for r in v]) for k, v in found.items()} for name, found in groups.items()},
            "counts": {name: {k: len(v) for k, v in found.items()} for name, found in groups.items()},
        }  # fmt: skip

    recomputed = block(scored, "overall", len(rows))
    parts = [json.loads(row["components"]) for row in scored]
    return {
        "recorded": block(scored, "judge_overall", len(rows)),
        "recomputed": {**recomputed, "by_component": {name: _mean([p[name]["score"] for p in parts]) for name in COMPONENTS},
                       "intervals": {"by_category": {k: _around(v, 0.4) for k, v in recomputed["by_category"].items()}}},
        "bias": 0.8, "strongest": "voice", "weakest": "load_bearing_risk",
        "by_judge": {judge: {"overall": _mean([r["overall"] for r in v if r["overall"] is not None]), "n": sum(r["status"] == "scored" for r in v),
                             "unscored": sum(r["status"] != "scored" for r in v)} for judge, v in _by(rows, "judge").items()},
    }  # fmt: skip


def _counts(rows: list[Row]) -> Row:
    both = _by(rows, "prompt_id", "judge")
    kept = [row for found in both.values() if all(r["verdict"] for r in found) for row in found]
    flips = [len({row["verdict"] for row in found}) > 1 for found in both.values() if all(r["verdict"] for r in found)]
    tally = Counter(row["verdict"] for row in kept)
    rate = (tally["first"] + tally["tie"] / 2) / len(kept) if kept else None
    unscored = sum(row["verdict"] is None for row in rows)
    return {"win": tally["first"], "tie": tally["tie"], "loss": tally["second"], "n": len(kept), "rate": rate and round(rate, 6), "interval": _around(rate),
            "flip_rate": _mean([float(flip) for flip in flips]), "flip_n": len(flips), "unscored": unscored, "incomplete": len(rows) - len(kept) - unscored}  # fmt: skip


def _short(rows: list[Row]) -> Row:
    return {name: value for name, value in _counts(rows).items() if name != "incomplete"}


def _pair(first: str, second: str, rows: list[Row]) -> Row:
    found = _counts(rows)
    axis = {name: found[name] for name in ("win", "tie", "loss", "n", "rate", "interval")}
    return {
        "candidate": first, "baseline": second, "first": first, "second": second, **found, "prompts": len(_by(rows, "prompt_id")), "p": 0.0004, "p_holm": 0.002,
        "word": "wins", "length_controlled": {"rate": found["rate"], "interval": found["interval"], "n": found["n"]}, "mde": 0.11, "prompts_needed": 24,
        "by_judge": {judge: _short(part) for judge, part in _by(rows, "judge").items()},
        "by_category": {category: _short(part) for category, part in _by(rows, "category").items()},
        "axes": {"voice": axis}, "without_judge": {judge: {"rate": found["rate"], "interval": found["interval"], "n": found["n"]} for judge in _by(rows, "judge")},
        "control": False, "decided_share": None, "identical": None,
    }  # fmt: skip


def _difference(candidate: str, baseline: str, key: str, role: str) -> Row:
    estimate = {"mean": 0.4, "interval": [0.3, 0.5], "n": 12, "prompts": 12}
    return {"candidate": candidate, "baseline": baseline, "kind": "adapter signal" if baseline == "ablation" else "over vanilla", "set": key, "role": role,
            "metric": "capped", "estimate": estimate, "p": 0.0001, "p_holm": 0.0009, "word": "wins", "mde": 0.12, "prompts_needed": 9}  # fmt: skip


def _judge(name: str) -> Row:
    pairwise = {"n": 40, "unscored": 2, "unscored_share": 0.05, "ties": 4, "decided": 34, "comparisons": 20, "first_shown_share": 0.6, "first_shown_p": 0.3,
                "flip_rate": 0.3, "marker_agreement": 0.5, "marker_agreement_n": 12}  # fmt: skip
    rubric = {"n": 33, "unscored": 3, "unscored_share": 0.1, "reasons": {"truncated": 3}, "mean": 6.5, "deviation": 1.2, "distinct": 14, "bias": 0.8,
              "marker_correlation": None}  # fmt: skip
    sentence = f"{name} contradicted itself on 30 % of comparisons when the order was swapped: only a wide margin means anything."
    return {"family": "qwen", "pairwise": pairwise, "rubric": rubric, "sentences": [sentence], "self_preference": None}


def _example(answers: list[Row], place: int) -> Row:
    first = answers[place]
    same = [row for row in answers if (row["set"], row["prompt_id"]) == (first["set"], first["prompt_id"])]
    kept = {name: first[name] for name in ("id", "category", "difficulty", "prompt", "prompt_id", "set", "role")}
    return {
        **kept,
        "answers": [
            {
                **{n: row[n] for n in ("subject", "answer", "calls", "sample")},
                "truncated": False,
                "matched": ["keystone"],
                "rubric": 6.5,
            }
            for row in same
        ],
    }
