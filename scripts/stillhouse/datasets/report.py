"""The report of a build: where every row went, and what the dataset holds, as plain JSON types."""

from collections import Counter
from typing import Any

import numpy as np

from stillhouse.datasets.books import SourceBooks
from stillhouse.datasets.choice import Choice
from stillhouse.datasets.facts import Facts
from stillhouse.datasets.flow import Flow
from stillhouse.datasets.naming import Details
from stillhouse.datasets.pairing import Examples
from stillhouse.datasets.scan import Scan
from stillhouse.datasets.select import Duplicates
from stillhouse.datasets.split import SPLITS
from stillhouse.study.datasets import Dataset

EDGES = (0, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
"""Where the bins of the histogram of lengths begin, in words; the last one is open."""


def make_report(
    dataset: Dataset,
    scan: Scan,
    examples: Examples,
    choice: Choice,
    books: list[SourceBooks],
    flow: Flow,
    details: Details,
    duplicates: Duplicates,
) -> dict[str, Any]:
    """The content of report.json without `tokens`; counts are rows of answers unless they stand under `pairs`."""
    rows = examples.row[choice.example]
    return {
        "format": dataset.format,
        "rows": len(rows),
        "prompts": int((np.diff(np.sort(scan.facts.keys[rows])) != 0).sum()) + bool(len(rows)),
        "splits": {name: choice.rows_in(number) for number, name in enumerate(SPLITS)},
        "sources": [_source(one, len(rows)) for one in books],
        "flow": flow.plain(),
        "duplicates": details.duplicates(),
        "decontamination": details.hits(),
        "categories": _categories(scan, rows, choice),
        "near_duplicates": _near_duplicates(dataset, scan, duplicates),
        "lengths": _lengths(scan.facts, examples, choice),
        "mix": _mix(dataset, examples, choice, books, scan.facts),
        "warnings": _warnings(dataset, books, choice),
    }


def _source(books: SourceBooks, total: int) -> dict[str, Any]:
    report = {
        "generation": books.generation,
        "share": books.share,
        "realised_share": round(books.entries / total, 6) if total else None,
        "rows_in": books.rows_in,
        "rows_kept": books.rows_kept,
        "rows": books.entries,
        "dropped": _plain(books.dropped),
        "filters": books.filters,
    }
    if books.considered is not None:
        dropped = _plain(books.examples_dropped)
        report["pairs"] = {"considered": books.considered, "kept": books.examples, "dropped": dropped}
    return report


def _plain(counts: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _categories(scan: Scan, rows: np.ndarray, choice: Choice) -> dict[str, dict[str, int]]:
    """Rows of each category in each split; "" for rows without one."""
    own = scan.facts.category[rows]
    found = {}
    for code in np.unique(own).tolist():
        counts = np.bincount(choice.split[own == code], minlength=len(SPLITS)).tolist()
        found[scan.categories.words[code] if code >= 0 else ""] = dict(zip(SPLITS, counts, strict=True))
    return found


def _near_duplicates(dataset: Dataset, scan: Scan, duplicates: Duplicates) -> dict[str, int] | None:
    """Rows that MinHash proposed for a closer look, and rows dropped; None where nothing was compared."""
    if dataset.near_duplicates is None:
        return None
    dropped = int((scan.facts.fate == scan.fates.number("duplicates", "near_duplicate")).sum())
    return {"proposed": duplicates.proposed, "dropped": dropped}


def _lengths(facts: Facts, examples: Examples, choice: Choice) -> dict[str, Any]:
    """Histograms of the words of prompts and answers, one value a row of the dataset."""
    prompts, answers = facts.asked[examples.row[choice.example]], examples.words[choice.example]
    return {"unit": "words", "edges": list(EDGES), "prompt": _histogram(prompts), "answer": _histogram(answers)}


def _histogram(values: np.ndarray) -> list[int]:
    return np.bincount(np.searchsorted(EDGES, values, side="right") - 1, minlength=len(EDGES)).tolist()


def _mix(
    dataset: Dataset, examples: Examples, choice: Choice, books: list[SourceBooks], facts: Facts
) -> dict[str, Any]:
    """Share of every source, as wanted and as realised."""
    total = sum(one.entries for one in books)
    sources = [
        {
            "generation": one.generation,
            "share": one.share,
            "rows": round(one.entries / total, 6) if total else None,
            "tokens": None,
        }
        for one in books
    ]
    if examples.tokens is not None and total:
        tokens = examples.tokens[choice.example].astype(np.int64)
        own = facts.source[examples.row[choice.example]]
        for number, source in enumerate(sources):
            source["tokens"] = round(int(tokens[own == number].sum()) / max(int(tokens.sum()), 1), 6)
    return {"shares": dataset.share_of, "sources": sources}


def _warnings(dataset: Dataset, books: list[SourceBooks], choice: Choice) -> list[str]:
    told = []
    for number, missing in sorted(choice.short.items()):
        own = books[number]
        there = f"{own.entries} rows" if dataset.share_of == "tokens" else f"{own.entries}"
        told.append(
            f"source {number + 1} ({own.generation}): share {own.share:g} needs {missing} more {dataset.share_of} than "
            f"the {there} that are left; all were taken"
        )
    wanted = {"train": dataset.split.train, "valid": dataset.split.valid}
    empty = [name for name, share in wanted.items() if share > 0 and not choice.rows_in(SPLITS.index(name))]
    if "train" in empty:
        told.append("the train split is empty: nothing can be trained on this dataset")
    elif empty and len(choice.example):
        told.append(
            "the valid split is empty: a prompt's split is drawn by its hash, and none of so few prompts fell into it; "
            "split.stratify gives exact shares"
        )
    return told
