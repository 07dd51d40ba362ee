"""What a dataset made of a prompt's answers: rows in its splits and the filters they passed, or why there are none."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from stillhouse.provenance.lineage import Node
from stillhouse.provenance.tables import Tables

Facts = dict[str, Any]

PAIR = ("round", "chosen_candidate", "rejected_candidate", "margin")
TEXTS = ("completion", "chosen", "rejected")

MIX = ("share", "realised_share", "rows_in", "rows_kept")

WORDS = {
    "no_pair": "nothing to pair its answer with",
    "no_reasoning": "no reasoning of the teacher belongs to its answer",
    "no_critique": "no critique of it that could be taught",
    "not_sampled": "its source's share of the mix was full",
    "over_limit": "its source's limit was reached",
    "repeat_below_one": "its `repeat` is below 1, and the draw left it out",
    "near_of_train": "nearly the same as a training row, but for another split",
    "near_of_valid": "nearly the same as a validation row, but for another split",
}
"""What the reasons after the filters mean."""


def dataset_facts(
    tables: Tables, node: Node, answers: list[Facts], rows: dict[str, list[Facts]], dropped: list[Facts]
) -> Iterator[Facts]:
    """Yield what the dataset of job `node` made of each of `answers` that it read.

    `rows` holds the prompt's rows in the dataset's splits, by path, and `dropped` those in dropped.parquet, which
    datasets of older versions do not have: then no reason is told.
    """
    report = read_report(tables, node)
    read = {item["path"] for item in node.inputs}
    for answer in answers:
        kept = [
            _row(path, row)
            for path, found in rows.items()
            for row in found
            if all(row[key] == answer[key] for key in ("generation", "set")) and _sample(row) == _sample(answer)
        ]
        if answer["file"] not in read and not kept:
            continue
        rejected = _rejected(rows, answer)
        sources = [one for one in report.get("sources", []) if one.get("generation") == answer["generation"]]
        yield {
            "dataset": node.wildcards.get("dataset", PurePosixPath(node.artefacts[0]).parent.name),
            "job": node.job,
            "generation": answer["generation"],
            "set": answer["set"],
            "rows": kept,
            "passed": [one["filter"] for source in sources for one in source["filters"]] if kept else [],
            "mix": [{name: source.get(name) for name in MIX} for source in sources],
            "dropped": [] if kept or rejected else [_words(row, sources) for row in dropped if _is(row, answer)],
            **({"rejected": rejected} if rejected else {}),
        }


def _rejected(rows: dict[str, list[Facts]], answer: Facts) -> list[Facts]:
    """The pairs whose rejected side an answer of another generation is."""
    return [
        _row(path, row)
        for path, found in rows.items()
        for row in found
        if row.get("rejected_source") == f"generation:{answer['generation']}"
        and _row(path, row)["rejected"].strip() == answer["answer"].strip()
    ]


def read_report(tables: Tables, node: Node) -> Facts:
    """The report.json of a dataset; empty where it is missing or damaged."""
    path = next((path for path in node.artefacts if PurePosixPath(path).name == "report.json"), None)
    try:
        report = json.loads((tables.lineage.root / path).read_bytes()) if path else {}
    except (OSError, ValueError):
        tables.damaged.append(f"{path} ({node.job}): cannot be read; `--verify` tells what was changed")
        return {}
    return report if isinstance(report, dict) else {}


def _row(path: str, row: Facts) -> Facts:
    facts = {"file": path, "row": row["row"], "split": PurePosixPath(path).stem}
    facts |= {name: row[name] for name in PAIR if name in row}
    return facts | {name: "\n".join(map(_said, row[name])) for name in TEXTS if name in row}


def _said(turn: Facts | str) -> str:
    """The text of an answer's turn; one that calls tools is told as JSON. Turns come as structs or as JSON."""
    told: Facts = json.loads(turn) if isinstance(turn, str) else turn
    if told.get("tool_calls"):
        return json.dumps(
            {name: told[name] for name in ("content", "tool_calls") if told.get(name)}, ensure_ascii=False
        )
    return str(told.get("content") or "")


def _words(row: Facts, sources: list[Facts]) -> str:
    """Why a row is not in the dataset: the filter as the study writes it, the row or prompt that it is too near to."""
    reason, detail = row["reason"], json.loads(row["detail"] or "{}")
    if "held_out" in detail:
        held = detail["held_out"]
        where = f"held-out prompt {held['prompt_id']} (id {held['id']}, set {held['set']})"
        return f"decontamination: {where} by {detail['test']}, similarity {detail['similarity']}"
    if "kept" in detail:
        kept = detail["kept"]
        other = f"{kept['prompt_id']} (id {kept['id']}, generation {kept['generation']})"
        return f"{WORDS.get(reason, 'duplicate')}: {other}, similarity {detail['similarity']}"
    if row["stage"] == "filters":
        labels = (one["filter"] for source in sources for one in source["filters"])
        return next((label for label in labels if label.split(":")[0] == reason), reason)
    return f"{WORDS[reason]} ({reason})" if reason in WORDS else reason


def _is(row: Facts, answer: Facts) -> bool:
    own = (row[key] == answer[key] for key in ("generation", "set", "id"))
    return all(own) and _sample(row) == _sample(answer)


def _sample(row: Facts) -> int:
    """Which of its prompt's answers a row is or was made of; before there were samples there was one."""
    return row.get("sample") or 0
