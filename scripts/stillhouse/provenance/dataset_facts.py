"""What a dataset made of a prompt's answers: rows in its splits and the filters they passed, or why there are none."""

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from stillhouse.provenance.lineage import Node
from stillhouse.provenance.tables import Tables

Facts = dict[str, Any]

PAIR = ("round", "chosen_candidate", "rejected_candidate", "margin")
TEXTS = ("completion", "chosen", "rejected")

MIX = ("share", "realised_share", "rows_in", "rows_kept")

# Reasons under which the report counts rows without naming them, after the filters.
UNNAMED = {
    "no_pair": "its tournament gave no pair that could be used",
    "not_sampled": "its source's share of the mix was full",
}


def dataset_facts(tables: Tables, node: Node, answers: list[Facts], rows: dict[str, list[Facts]]) -> Iterator[Facts]:
    """Yield what the dataset of job `node` made of each of `answers` that it read.

    `rows` holds the prompt's rows in the dataset's files, by path. A reason for a dropped row is certain where the
    report names the row or only one reason is left; else all that are left are told.
    """
    report = read_report(tables, node)
    read = {item["path"] for item in node.inputs}
    for answer in answers:
        kept = [
            _row(path, row)
            for path, found in rows.items()
            for row in found
            if row["generation"] == answer["generation"] and row["set"] == answer["set"]
        ]
        if answer["file"] not in read and not kept:
            continue
        sources = [one for one in report.get("sources", []) if one.get("generation") == answer["generation"]]
        yield {
            "dataset": node.wildcards.get("dataset", PurePosixPath(node.artefacts[0]).parent.name),
            "job": node.job,
            "generation": answer["generation"],
            "set": answer["set"],
            "rows": kept,
            "passed": [one["filter"] for source in sources for one in source["filters"]] if kept else [],
            "mix": [{name: source.get(name) for name in MIX} for source in sources],
            "dropped": [] if kept else _dropped(report, sources, answer),
        }


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
    return facts | {name: "\n".join(turn["content"] for turn in row[name]) for name in TEXTS if name in row}


def _dropped(report: Facts, sources: list[Facts], answer: Facts) -> list[str]:
    """Why a row that was read is not in the dataset: one reason, or all that are left."""
    named = [*_named_duplicate(report, answer), *_named_leak(report, answer)]
    if named:
        return named
    possible: list[str] = []
    for source in sources:
        fails = False
        for one in source["filters"]:
            verdict = _verdict(one["filter"], answer)
            if one["dropped"] and verdict is not False:
                possible.append(f"{one['filter']} (took {one['dropped']})")
            if one["dropped"] and verdict:
                fails = True  # it went here, or at a filter before this one
                break
        if not fails:
            # where a duplicate or a leak took a row, the report names the row: it was not this one
            counts = source.get("dropped", {})
            possible += [f"{why} ({name} took {counts[name]})" for name, why in UNNAMED.items() if counts.get(name)]
    return list(dict.fromkeys(possible))


def _verdict(label: str, answer: Facts) -> bool | None:
    """Whether a filter certainly takes the answer (True), certainly not (False); None where the row does not tell."""
    if label.startswith("not_truncated"):
        return bool(answer["truncated"])
    if label.startswith("converged"):
        return answer["converged"] is False
    if label.startswith("no empty answer"):
        return not (answer["answer"] or "").strip()
    limit = re.fullmatch(r"(min|max)_words: (\d+)", label)
    return _length(answer["answer"] or "", limit.group(1), int(limit.group(2))) if limit else None


def _length(text: str, bound: str, limit: int) -> bool | None:
    """What the limits of the number of words tell: at least the spaced ones, at most the letters and digits."""
    least = sum(re.search(r"\w", word) is not None for word in text.split())
    most = len(re.findall(r"\w", text))
    if bound == "min":
        return False if least >= limit else True if most < limit else None
    return True if least > limit else False if most <= limit else None


def _is(name: Facts, answer: Facts) -> bool:
    return all(name.get(key) == answer[key] for key in ("generation", "set", "id"))


def _named_duplicate(report: Facts, answer: Facts) -> Iterator[str]:
    for one in report.get("duplicates", []):
        if _is(one["row"], answer):
            kept = one["kept"]
            yield (
                f"duplicate of {kept['prompt_id']} (id {kept['id']}, generation {kept['generation']}), "
                f"similarity {one['similarity']}"
            )


def _named_leak(report: Facts, answer: Facts) -> Iterator[str]:
    for one in report.get("decontamination", []):
        if _is(one["row"], answer):
            held = one["held_out"]
            yield (
                f"decontamination: held-out prompt {held['prompt_id']} (id {held['id']}, set {held['set']}) "
                f"by {one['test']}, similarity {one['similarity']}"
            )
