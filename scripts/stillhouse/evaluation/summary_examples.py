"""Answers that stand side by side in the report, and the files behind its numbers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.evaluation.rows import key
from stillhouse.evaluation.statistics import mean
from stillhouse.evaluation.summary_evidence import Evidence, Row, group

SHOWN = ("id", "category", "difficulty", "prompt", "prompt_id")


def examples(evidence: Evidence, number: int) -> list[dict[str, Any]]:
    """The first `number` prompts of each set by prompt_id, never chosen by score, with every subject's first sample."""
    firsts = [(name, prompt) for name, about in evidence.sets.items() for prompt in sorted(about.prompts)[:number]]
    wanted = set(firsts)
    answers = group((row for row in evidence.answers if (row["set"], row["prompt_id"]) in wanted), "set", "prompt_id")
    matched = {key(row): row["matched"] for row in evidence.markers if (row["set"], row["prompt_id"]) in wanted}
    scored = group(
        (row for row in evidence.rubric if row["status"] == "scored" and (row["set"], row["prompt_id"]) in wanted),
        *("subject", "set", "prompt_id", "sample"),
    )
    found = []
    for name, prompt in firsts:
        rows = answers.get((name, prompt), [])
        first: dict[str, Row] = {}
        for row in sorted(rows, key=lambda row: row["sample"]):
            first.setdefault(row["subject"], row)
        if not first:
            continue
        about = next(iter(first.values()))
        shown = [_answer(first[key], matched, scored) for key in evidence.order if key in first]
        told = {column: about[column] for column in SHOWN}
        found.append({**told, "set": name, "role": evidence.sets[name].role, "answers": shown})
    return found


def _answer(row: Row, matched: Mapping[Any, list[str]], scored: Mapping[Any, list[Row]]) -> dict[str, Any]:
    return {
        "subject": row["subject"],
        "sample": row["sample"],
        "answer": row["answer"],
        "truncated": row["finish_reason"] == "length",
        "matched": matched.get(key(row)),
        "rubric": mean([verdict["overall"] for verdict in scored.get(key(row), [])]),
        "calls": row["calls"],
    }


def files(
    target: Path,
    responses: list[Path],
    judgements: Mapping[str, Path | None],
    trained: Mapping[str, Path],
) -> dict[str, Any]:
    """Where the numbers came from, relative to the report, so that moving a study changes no byte."""
    here = target.parent
    return {
        "responses": sorted(_beside(path, here) for path in responses),
        "judgements": {kind: _beside(path, here) for kind, path in judgements.items() if path},
        "trained": {name: _beside(path, here) for name, path in sorted(trained.items())},
    }


def _beside(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
