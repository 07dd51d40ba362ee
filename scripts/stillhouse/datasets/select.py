"""What leaves between the first pass and the mix: rows that say the same, rows alike, rows that leak."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stillhouse.datasets.batches import RowGroup
from stillhouse.datasets.facts import Facts
from stillhouse.datasets.filters.panel import verdict_of
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.in_turn import in_turn
from stillhouse.datasets.near_duplicates import keep_first
from stillhouse.datasets.ordering import order_of
from stillhouse.datasets.scan import Scan, compared_text
from stillhouse.datasets.scores import QUALITY
from stillhouse.datasets.sources import IDENTITY, Answers
from stillhouse.datasets.ties import first_of, settle
from stillhouse.study.datasets import Dataset, NearDuplicates


@dataclass
class Duplicates:
    """Rows that were dropped, the row that stays for each, and how alike the two are (0 to 1)."""

    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kept: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    similarity: np.ndarray = field(default_factory=lambda: np.zeros(0))
    proposed: int = 0
    """Rows that MinHash proposed for a closer look."""

    def add(self, rows: np.ndarray, kept: np.ndarray, similarity: np.ndarray) -> None:
        """Take in more of them."""
        self.rows = np.concatenate([self.rows, rows])
        self.kept = np.concatenate([self.kept, kept])
        self.similarity = np.concatenate([self.similarity, similarity])


def order_and_repeats(scan: Scan, answers: Answers, dataset: Dataset, columns: tuple[str, ...]) -> Duplicates:
    """Give every row its place in the total order, and drop rows that say what an earlier one says, word for word.

    What counts is the prompt and every column that the format makes its examples of.
    """
    same = tuple(name for name in FORMATS[dataset.format].columns if name not in (*IDENTITY, "messages"))
    facts, found = scan.facts, Duplicates()
    rows, digests = settle(facts, answers, columns, same)
    alive = facts.alive[rows]
    rows, digests = rows[alive], digests[alive]
    first = rows[first_of(digests, facts.place[rows])] if len(rows) else rows
    gone = first != rows
    found.add(rows[gone], first[gone], np.ones(int(gone.sum())))
    facts.fate[rows[gone]] = scan.fates.number("duplicates", "exact_duplicate")
    return found


def drop_duplicates(scan: Scan, answers: Answers, settings: NearDuplicates, found: Duplicates, threads: int) -> None:
    """Drop rows whose compared text has another's normal form or is nearly another's; tell them to `found`."""
    facts = scan.facts
    order = order_of(facts.place, *_preference(facts, answers, settings))
    priority = np.empty(len(facts), np.int64)
    priority[order] = np.arange(len(facts))
    rows = np.flatnonzero(facts.alive)
    first = rows[first_of(facts.form[rows], priority[rows])] if len(rows) else rows
    gone = first != rows
    found.add(rows[gone], first[gone], np.ones(int(gone.sum())))
    facts.fate[rows[gone]] = scan.fates.number("duplicates", "exact_duplicate")
    if scan.signatures is None:
        return
    pairs = scan.signatures.pairs(Texts(answers, settings.over, threads), facts.alive, facts.settings)
    found.proposed = len(pairs.rows)
    near, kept, similarity = keep_first(pairs, order[facts.alive[order]])
    found.add(near, kept, similarity)
    facts.fate[near] = scan.fates.number("duplicates", "near_duplicate")


def _preference(facts: Facts, answers: Answers, settings: NearDuplicates) -> list[np.ndarray]:
    """What of two alike rows decides before their order: nothing, the longer answer, the better score, the clearer win."""
    if settings.keep == "first":
        return []
    if settings.keep == "longest":
        return [-facts.words]
    if settings.keep == "quality":
        return [-_scores(facts, answers)]
    margins = np.zeros(len(facts), np.int64)
    for batch in answers.batches(("prompt_id", "transcript"), facts.alive):
        first = answers.rows_of(batch).start
        for row in np.flatnonzero(facts.alive[answers.rows_of(batch)]).tolist():
            verdict = verdict_of(batch.row(row))
            margins[first + row] = 0 if verdict is None or verdict.margin is None else verdict.margin
    return [-margins]


def _scores(facts: Facts, answers: Answers) -> np.ndarray:
    """float64: the score of every row that is left; below all of them where there is none."""
    scores = np.full(len(facts), -np.inf)
    for batch in answers.batches(("prompt_id", QUALITY), facts.alive):
        found = batch.column(QUALITY).fill_null(-np.inf)
        scores[answers.rows_of(batch)] = found.to_numpy(zero_copy_only=False)
    return scores


def drop_leaks(scan: Scan) -> list[int]:
    """Drop rows that a held-out prompt leaks into; returns the numbers of the hits that count, one a row."""
    facts = scan.facts
    counted = [number for number, hit in enumerate(scan.hits) if facts.fate[hit.row] == 0]
    facts.fate[[scan.hits[number].row for number in counted]] = scan.fates.number("decontamination", "decontamination")
    return sorted(counted, key=lambda number: int(facts.place[scan.hits[number].row]))


@dataclass(frozen=True)
class Texts:
    """Reads the compared texts of some rows once more, in their order."""

    answers: Answers
    over: str
    threads: int

    def __call__(self, rows: np.ndarray) -> Iterator[pa.StringArray]:
        """Texts of `rows` (ascending), the rows of a batch at a time."""
        columns = ("prompt_id", "messages", *(() if self.over == "prompt" else ("answer",)))
        wanted = np.zeros(self.answers.rows, bool)
        wanted[rows] = True

        def work(group: RowGroup) -> list[pa.StringArray]:
            chosen = (batch.take(np.flatnonzero(wanted[self.answers.rows_of(batch)])) for batch in group())
            return [compared_text(batch, self.over) for batch in chosen if len(batch)]

        # each thread reads for itself: of one column, Arrow decodes a row group after the other
        for _, texts in in_turn(work, self.answers.groups(columns, wanted), self.threads):
            yield from texts
