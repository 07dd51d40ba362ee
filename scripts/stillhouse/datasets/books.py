"""The books of a build: where every row of every source went. They must balance before anything is written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stillhouse.datasets.choice import Choice
from stillhouse.datasets.examples import Format
from stillhouse.datasets.facts import ALIVE, Fates
from stillhouse.datasets.flow import Flow
from stillhouse.datasets.pairing import Examples
from stillhouse.datasets.scan import Scan
from stillhouse.study.datasets import Dataset

REPEATED = "rows"
"""Unit of the flow once rows stand in the dataset several times."""


@dataclass
class SourceBooks:
    """Rows of one source: `rows_in` = `rows_kept` + everything in `dropped`; the same for examples, where rows give any."""

    generation: str
    share: float | None
    rows_in: int
    rows_kept: int
    entries: int
    """Rows of the dataset that are of this source, repeats included."""
    dropped: Counter[str]
    filters: list[dict[str, Any]]
    considered: int | None = None
    examples: int = 0
    examples_dropped: Counter[str] = field(default_factory=Counter)

    def check(self, number: int) -> None:
        """Raises `RuntimeError` when a row is lost or counted twice: a bug, never the user's mistake."""
        accounts = [("rows", self.rows_in, self.rows_kept, self.dropped)]
        if self.considered is not None:
            accounts.append(("examples", self.considered, self.examples, self.examples_dropped))
        for what, came, kept, dropped in accounts:
            if came != kept + dropped.total():
                raise RuntimeError(
                    f"source {number + 1} ({self.generation}): {came} {what} in, {kept} kept, "
                    f"{dropped.total()} dropped: {dict(dropped)}"
                )


def source_books(scan: Scan, examples: Examples, choice: Choice, dataset: Dataset, form: Format) -> list[SourceBooks]:
    """Books of every source."""
    facts, found = scan.facts, []
    of_example, of_entry = facts.source[examples.row], facts.source[examples.row[choice.example]]
    for number, source in enumerate(dataset.sources):
        rows = slice(*facts.starts[number : number + 2])
        reasons = _reasons(facts.fate[rows], scan.fates)
        taken = zip(scan.filters[number], scan.taken[number], strict=True)
        books = SourceBooks(
            generation=source.generation,
            share=source.share,
            rows_in=rows.stop - rows.start,
            rows_kept=int((facts.fate[rows] == ALIVE).sum()),
            entries=int((of_entry == number).sum()),
            dropped=reasons,
            filters=[{"filter": one.label, "dropped": count} for one, count in taken],
        )
        if form.table is None:
            own = choice.fate[of_example == number]
            books.considered = examples.considered[number]
            books.examples = int((own == ALIVE).sum())
            books.examples_dropped = examples.dropped[number] + _reasons(own, scan.fates)
        found.append(books)
    return found


def _reasons(fate: np.ndarray, fates: Fates, stages: tuple[str, ...] = ()) -> Counter[str]:
    """How many went for each reason, of all stages or of some."""
    counts: Counter[str] = Counter()
    for number, count in enumerate(np.bincount(fate, minlength=1).tolist()):
        named = fates.named[number]
        if named is not None and count and (not stages or named.stage in stages):
            counts[named.reason] += count
    return counts


def enter_flow(flow: Flow, scan: Scan, examples: Examples, choice: Choice, dataset: Dataset, form: Format) -> None:
    """Enter every step after the generations. Each stage's losses are counted where the rows' fates stand."""
    facts, fates = scan.facts, scan.fates
    for number, source in enumerate(dataset.sources):
        own = facts.fate[slice(*facts.starts[number : number + 2])]
        _step(flow, "filters", len(own), _reasons(own, fates, ("filters",)), source=source.generation)
    left = len(facts) - _reasons(facts.fate, fates, ("filters",)).total()
    left = _step(flow, "duplicates", left, _reasons(facts.fate, fates, ("duplicates",)))
    if dataset.decontaminate is not None:
        left = _step(flow, "decontamination", left, _reasons(facts.fate, fates, ("decontamination",)))
    if form.table is None:
        left = _step(flow, "pairing", left, _reasons(facts.fate, fates, ("pairing",)))
    if form.unit != "answers":
        dropped = sum(examples.dropped.values(), Counter[str]())
        left = _step(flow, "pairs", examples.considered.total(), dropped, unit=form.unit)
    left = _step(flow, "mix", left, _reasons(choice.fate, fates, ("mix",)), unit=form.unit)
    left = _step(flow, "splits", left, _reasons(choice.fate, fates, ("splits",)), unit=form.unit)
    if left != len(choice.example):
        _step(flow, "repeats", len(choice.example), {}, unit=REPEATED)


def _step(
    flow: Flow,
    stage: str,
    came: int,
    dropped: Mapping[str, int],
    *,
    source: str | None = None,
    unit: str = "answers",
) -> int:
    """Enter a step; returns what it kept."""
    kept = came - sum(dropped.values())
    flow.enter(stage, came, kept, dropped, source=source, unit=unit)
    return kept
