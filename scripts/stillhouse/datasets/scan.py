"""The first pass: every row is read once, filtered and measured, and leaves small numbers behind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets.batches import Batch
from stillhouse.datasets.curriculum import level_columns, level_texts
from stillhouse.datasets.decontaminate import HeldOut, Hit
from stillhouse.datasets.facts import ALIVE, Facts, Fates, Vocabulary
from stillhouse.datasets.filters.base import RowFilter
from stillhouse.datasets.filters.registry import ALWAYS, keep_mask, make_filters
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.kernels import Tokens, normal_digests, tokens
from stillhouse.datasets.matching import repeat_columns, times_of
from stillhouse.datasets.near_duplicates import Signatures
from stillhouse.datasets.ranks import prompt_keys
from stillhouse.datasets.sources import IDENTITY, Answers, in_threads
from stillhouse.study.datasets import Dataset

if TYPE_CHECKING:
    from stillhouse.datasets.tokens import Counter

ALWAYS_READ = (*IDENTITY, "messages", "category", "answer")

GROUPING_THRESHOLD = 0.85
"""Prompts so alike do not stand in different splits, also where near-duplicates stay in the dataset."""


@dataclass
class Scan:
    """What the first pass leaves: facts of all rows, signatures for comparing, hits, and what every filter took."""

    facts: Facts
    fates: Fates
    taken: list[list[int]]
    """Rows that each filter of each source dropped."""
    filters: list[list[RowFilter]]
    categories: Vocabulary
    levels: Vocabulary
    signatures: Signatures | None
    grouping: Signatures | None
    """By which prompts are told that may not stand in different splits; they may be `signatures`."""
    hits: list[Hit] = field(default_factory=list)
    rich: bool = False
    """Whether any message holds more than a role and a text."""


@dataclass
class _Seen:
    """One batch, measured."""

    keys: np.ndarray
    sample: np.ndarray
    fate: np.ndarray
    taken: list[int]
    words: np.ndarray
    asked: np.ndarray
    times: np.ndarray
    form: np.ndarray
    settings: np.ndarray
    bands: np.ndarray | None
    """Signatures of the rows that are left, and those by which prompts are grouped."""
    groups: np.ndarray | None
    hits: list[Hit]
    rich: bool


def compared_text(batch: Batch, over: str) -> pa.StringArray:
    """The text by which near-duplicates are told: of the prompt, the answer, or both."""
    if over == "prompt":
        return batch.prompt_texts()
    answers = batch.strings("answer")
    return answers if over == "answer" else pc.binary_join_element_wise(batch.prompt_texts(), answers, "\n")


def _compared_tokens(batch: Batch, over: str) -> Tokens:
    """The words of `compared_text`."""
    if over == "prompt":
        return batch.prompt_tokens
    return batch.tokens("answer") if over == "answer" else tokens(compared_text(batch, over))


class Scanner:
    """Reads all rows once."""

    def __init__(
        self, dataset: Dataset, files: Mapping[str, Path], held_out: HeldOut | None, counter: "Counter | None"
    ) -> None:
        self._dataset = dataset
        self._form = FORMATS[dataset.format]
        self._held_out = held_out
        self.fates = Fates()
        # What pairs are made of is checked where they are made; the final answer need not be a part of them.
        always = ALWAYS if dataset.format in ("sft", "reasoning") else ()
        self.filters = [
            [*always, *make_filters(source.filters, files, counter=counter, format=dataset.format)]
            for source in dataset.sources
        ]
        self._hashed = [self._columns_hashed(own) for own in self.filters]
        self._numbers = [[self.fates.number("filters", one.reason) for one in own] for own in self.filters]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of answers.parquet that the scan reads."""
        own = [column for filters in self.filters for one in filters for column in one.columns]
        more = (*repeat_columns(self._dataset.repeats), *level_columns(self._dataset.order))
        near = self._dataset.near_duplicates
        tools = ("tools",) if near and near.over != "answer" else ()
        return tuple(dict.fromkeys([*ALWAYS_READ, *FORMATS[self._dataset.format].columns, *own, *more, *tools]))

    def _columns_hashed(self, filters: list[RowFilter]) -> list[str]:
        """Columns of which the words' hashes are wanted, by filters or for near-duplicates."""
        near = self._dataset.near_duplicates
        wanted = {name for one in filters for name in getattr(one, "hashed", ())}
        return sorted(wanted | ({"answer"} if near and near.over == "answer" else set()))

    def scan(self, answers: Answers, threads: int) -> Scan:
        """Facts of all rows; raises `InputError` where a row cannot be used."""
        near = self._dataset.near_duplicates
        splits = self._dataset.split.train < 1.0
        signatures = Signatures(near.threshold, near.permutations) if near else None
        shared = near is not None and near.over == "prompt" and near.threshold <= GROUPING_THRESHOLD
        grouping = (signatures if shared else Signatures(GROUPING_THRESHOLD, 128)) if splits else None
        found = Scan(
            _no_facts(answers, compared=near is not None), self.fates, [[0] * len(own) for own in self.filters],
            self.filters, Vocabulary(), Vocabulary(), signatures, grouping,
        )  # fmt: skip

        def work(batch: Batch) -> _Seen:
            return self._see(batch, signatures, grouping)

        for batch, seen in in_threads(work, answers.batches(self.columns), threads):
            self._enter(found, batch, seen, answers.rows_of(batch))
        found.facts.category = found.categories.sort(found.facts.category)
        return found

    def _see(self, batch: Batch, signatures: Signatures | None, grouping: Signatures | None) -> _Seen:
        """Everything that one batch alone tells; runs in a thread of its own."""
        fate, taken = self._filtered(batch)
        alive = fate == ALIVE
        near = self._dataset.near_duplicates
        source = self._dataset.sources[batch.source]
        compared = _compared_tokens(batch, near.over) if near else None
        apart = batch.settings if near and near.over != "answer" else np.zeros(len(batch), np.uint64)
        return _Seen(
            keys=prompt_keys(batch.strings("prompt_id")),
            sample=batch.column("sample").fill_null(0).to_numpy(zero_copy_only=False),
            fate=fate,
            taken=taken,
            words=batch.counts("answer").words,
            asked=batch.prompt_words,
            times=times_of(batch, source, self._dataset.repeats),
            form=(normal_digests(compared) if compared else np.zeros((len(batch), 0), np.uint64)) ^ apart[:, None],
            settings=apart,
            bands=signatures.bands_of(compared.take(alive)) if signatures and compared else None,
            groups=grouping.bands_of(batch.prompt_tokens.take(alive)) if grouping not in (None, signatures) else None,
            hits=self._hits(batch, alive),
            rich=batch.rich or self._form.calls(batch),
        )

    def _filtered(self, batch: Batch) -> tuple[np.ndarray, list[int]]:
        """Fates after the source's filters, and how many rows each of them took."""
        for name in self._hashed[batch.source]:
            batch.tokens(name)  # words are counted in the same go
        fate, taken = np.zeros(len(batch), np.int16), []
        for one, number in zip(self.filters[batch.source], self._numbers[batch.source], strict=True):
            alive = fate == ALIVE
            dropped = alive & ~keep_mask(one, batch, alive)
            fate[dropped] = number
            taken.append(int(dropped.sum()))
        return fate, taken

    def _hits(self, batch: Batch, alive: np.ndarray) -> list[Hit]:
        if self._held_out is None or not alive.any():
            return []
        rows, turns = np.flatnonzero(alive), batch.turns()
        if turns is None:
            texts = batch.prompt_texts().take(pa.array(rows))
            hits = self._held_out.hits(texts, batch.prompt_tokens.take(rows))
        else:
            hits = self._held_out.hits([turns[row] for row in rows.tolist()])
        return [hit._replace(row=int(rows[hit.row])) for hit in hits]

    def _enter(self, found: Scan, batch: Batch, seen: _Seen, rows: slice) -> None:
        """Enter a batch, in file order."""
        facts = found.facts
        for name in ("keys", "sample", "fate", "words", "asked", "times", "form", "settings"):
            getattr(facts, name)[rows] = getattr(seen, name)
        facts.source[rows] = batch.source
        facts.category[rows] = found.categories.encode(batch.column("category"))
        texts = level_texts(batch, self._dataset.order)
        facts.level[rows] = found.levels.encode(texts) if texts is not None else -1
        found.taken[batch.source] = [a + b for a, b in zip(found.taken[batch.source], seen.taken, strict=True)]
        found.hits += [hit._replace(row=rows.start + hit.row) for hit in seen.hits]
        found.rich |= seen.rich
        for signatures, bands in ((found.signatures, seen.bands), (found.grouping, seen.groups)):
            if signatures is not None and bands is not None:
                signatures.add(bands, seen.fate == ALIVE)


def _no_facts(answers: Answers, compared: bool) -> Facts:
    """Arrays of the right size, to be filled."""
    rows = answers.rows
    integers = {name: np.zeros(rows, np.int32) for name in ("sample", "words", "asked", "category", "level")}
    return Facts(
        starts=list(answers.starts),
        source=np.zeros(rows, np.int16),
        keys=np.zeros(rows, np.uint64),
        fate=np.zeros(rows, np.int16),
        times=np.ones(rows),
        form=np.zeros((rows, 2 if compared else 0), np.uint64),
        settings=np.zeros(rows, np.uint64),
        **integers,
    )
