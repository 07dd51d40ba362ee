"""A total order over rows, and rows that say the same, both without regard to the order in which rows were read.

Rows of different prompts are told apart by their keys alone. Only rows that share a prompt with another one are read
again: for their names, and for digests of what they hold.
"""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets.facts import Facts
from stillhouse.datasets.ordering import order_of
from stillhouse.datasets.sources import IDENTITY, Answers

DIGEST_BYTES = 16
_BETWEEN = "\x1f"


def shared_prompts(facts: Facts) -> np.ndarray:
    """Mask of the rows whose prompt is another row's, too, in whatever source."""
    order = np.argsort(facts.keys)
    same = facts.keys[order][1:] == facts.keys[order][:-1]
    shared = np.zeros(len(facts), bool)
    shared[order[1:][same]] = True
    shared[order[:-1][same]] = True
    return shared


def settle(
    facts: Facts, answers: Answers, columns: tuple[str, ...], same: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Fill `facts.place` with a total order: by source, prompt, set, id and sample, then by all `columns`.

    Returns the rows that share their prompt with another row (int64, in file order) and a digest of each one's text
    columns `same` and its prompt: uint64 [rows, 2].
    """
    shared = shared_prompts(facts)
    rows = np.flatnonzero(shared)
    names: list[pa.Table] = []
    said: list[bytes] = []
    for batch in answers.batches(tuple(dict.fromkeys([*IDENTITY, *columns])), shared) if len(rows) else ():
        own = pa.array(np.flatnonzero(shared[answers.rows_of(batch)]))
        part = batch.table.take(own)
        names.append(_names(part, columns))
        said += list(_digests(_joined(part, ("messages", *same), trimmed=True)))
    tie = np.zeros(len(facts), np.int64)
    if names:
        tie[rows] = _order_of(pa.concat_tables(names))
    order = order_of(tie, facts.keys, facts.source)
    facts.place = np.empty(len(facts), np.int64)
    facts.place[order] = np.arange(len(facts))
    return rows, np.frombuffer(b"".join(said), np.uint64).reshape(-1, 2)


def _names(part: pa.RecordBatch, columns: tuple[str, ...]) -> pa.Table:
    whole = pa.array(list(_digests(_joined(part, columns))), pa.binary(DIGEST_BYTES))
    named = {name: part.column(name) for name in ("set", "id")}
    return pa.table({**named, "sample": part.column("sample").fill_null(0), "whole": whole})


def _order_of(names: pa.Table) -> np.ndarray:
    """Rank of each row among all by set, id, sample and content."""
    order = pc.sort_indices(names, [(name, "ascending") for name in names.column_names]).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _joined(part: pa.RecordBatch, columns: tuple[str, ...], *, trimmed: bool = False) -> pa.StringArray:
    """One text a row out of its columns; a null is told from an empty text unless `trimmed`."""
    texts = []
    for name in columns:
        column = part.column(name)
        if pa.types.is_list(column.type):
            column = pc.binary_join(column, _BETWEEN)
        column = column.cast(pa.string())
        texts.append(pc.utf8_trim_whitespace(column.fill_null("")) if trimmed else column.fill_null("\0"))
    return pc.binary_join_element_wise(*texts, "\x1e")


def _digests(texts: pa.StringArray) -> Iterator[bytes]:
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1].tolist()
    data = memoryview(texts.buffers()[2] or b"")
    for first, last in itertools.pairwise(offsets):
        yield hashlib.blake2b(data[first:last], digest_size=DIGEST_BYTES).digest()


def first_of(groups: np.ndarray, priority: np.ndarray) -> np.ndarray:
    """For rows with uint64 [n, k] `groups`: the position of the row with the smallest priority in the row's group."""
    order = order_of(priority, *groups.T)
    ordered = groups[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    leaders = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]] if len(order) else order
    first = np.empty(len(order), np.int64)
    first[order] = leaders
    return first
