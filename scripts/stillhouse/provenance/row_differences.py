"""Which rows two datasets have in common, and which stand in one of them only."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.provenance.lineage import Node
from stillhouse.provenance.tables import DATASETS, PROMPT_ID, Table, Tables

SOME = 5
MOST_COMPARED = 100_000
"""Rows up to which the texts of common rows are compared; beyond it that would take many seconds."""
JOIN = "\x1f"
TEXTS = ("completion", "chosen", "rejected")


@dataclass(frozen=True)
class Rows:
    """The rows of some tables, one after the other; `keys` tells each by its prompt, and by its generation if need be."""

    tables: list[Table]
    keys: pa.ChunkedArray

    @property
    def splits(self) -> list[str]:
        """Names of the tables' splits."""
        return [PurePosixPath(table.path).stem for table in self.tables]

    def place(self, number: int) -> tuple[Table, int]:
        """Table and row of the row with this number among all."""
        for table in self.tables:
            if number < table.rows:
                return table, number
            number -= table.rows
        raise IndexError(number)


def dataset_rows_between(tables: Tables, a: Node, b: Node) -> dict[str, Any] | None:
    """Rows of the nearest datasets behind two jobs: counts and some ids; None where one has none behind it."""
    sides = [nearest_datasets(tables, node) for node in (a, b)]
    if not all(sides):
        return None
    facts: dict[str, Any] = {"datasets": {name: [n.job for n in side] for name, side in zip("ab", sides, strict=True)}}
    if sides[0] == sides[1]:
        return {**facts, "same": True}
    left, right = _rows(tables, *sides)
    common = pc.is_in(left.keys, value_set=right.keys.combine_chunks())
    back = pc.is_in(right.keys, value_set=left.keys.combine_chunks())
    count = pc.sum(common).as_py() or 0
    return {
        **facts,
        "same": False,
        "a": len(left.keys),
        "b": len(right.keys),
        "common": count,
        "only_a": _told(tables, left, pc.invert(common)),
        "only_b": _told(tables, right, pc.invert(back)),
        "other_split": _moved(left, right, count),
        "other_text": _other_text(tables, left, right),
    }


def nearest_datasets(tables: Tables, node: Node) -> list[Node]:
    """The datasets that a job made or read, or that what it read was made of, nearest first on every way."""
    found, waiting, seen = [], [node], set()
    for current in waiting:
        if current in seen:
            continue
        seen.add(current)
        if any(table.kind in DATASETS for table in tables.of(current)):
            found.append(current)
        else:
            waiting.extend(tables.lineage.parents(current))
    return found


def _rows(tables: Tables, *sides: Iterable[Node]) -> list[Rows]:
    """The rows of each side. Where all are of one generation, prompts alone tell them apart."""
    own = [[t for node in side for t in tables.of(node) if t.kind in DATASETS and t.rows] for side in sides]
    generations = {table.constants().get("generation") for side in own for table in side}
    joined = len(generations) != 1 or None in generations
    found = []
    for side in own:
        keys = {table.path: tables.tried(lambda t=table: _keys(t, joined), None) for table in side}
        sound = [table for table in side if keys[table.path] is not None]
        chunks = [chunk for table in sound for chunk in keys[table.path].chunks]
        found.append(Rows(sound, pa.chunked_array(chunks, pa.string())))
    return found


def _keys(table: Table, joined: bool) -> pa.ChunkedArray:
    prompts = table.column(PROMPT_ID)
    if not joined:
        return prompts
    return pc.binary_join_element_wise(prompts, table.column("generation"), JOIN, null_handling="replace")


def _told(tables: Tables, rows: Rows, alone: pa.ChunkedArray) -> dict[str, Any]:
    """Number of the rows that `alone` marks, by generation, and where some of them stand."""
    numbers = pc.indices_nonzero(alone)
    counts: dict[str, int] = {}
    start = 0
    for table in rows.tables:
        mask = alone.slice(start, table.rows)
        start += table.rows
        own = pc.sum(mask).as_py() or 0
        constant = table.constants().get("generation")
        if constant is not None:
            counts[constant] = counts.get(constant, 0) + own
        elif own:
            generation = tables.tried(lambda t=table, m=mask: t.column("generation").filter(m), pa.array([]))
            for one in pc.value_counts(generation).to_pylist():
                counts[one["values"]] = counts.get(one["values"], 0) + one["counts"]
    places = [rows.place(number.as_py()) for number in numbers[:SOME]]
    some = [tables.tried(lambda t=table, n=number: _shown(t, n), None) for table, number in places]
    return {
        "rows": len(numbers),
        "by_generation": {name: counts[name] for name in sorted(counts, key=str) if counts[name]},
        "some": [one for one in some if one],
    }


def _shown(table: Table, number: int) -> dict[str, Any]:
    row = table.at(number, [PROMPT_ID, "set", "id", "generation"])
    return {**row, "split": PurePosixPath(table.path).stem}


def _moved(left: Rows, right: Rows, common: int) -> int:
    """Of the `common` rows of the first, those that stand in another split of the second."""
    if len({*left.splits, *right.splits}) == 1:
        return 0
    places = [_with_split(rows) for rows in (left, right)]
    return common - (pc.sum(pc.is_in(places[0], value_set=places[1].combine_chunks())).as_py() or 0)


def _with_split(rows: Rows) -> pa.ChunkedArray:
    splits = [pa.repeat(split, table.rows) for split, table in zip(rows.splits, rows.tables, strict=True)]
    return pc.binary_join_element_wise(rows.keys, pa.chunked_array(splits, pa.string()), JOIN)


def _other_text(tables: Tables, left: Rows, right: Rows) -> int | None:
    """Common rows whose texts differ; None where there are too many rows to compare."""
    if len(left.keys) + len(right.keys) > MOST_COMPARED:
        return None
    mine, theirs = (_texts(tables, rows) for rows in (left, right))
    return sum(mine[key] != theirs[key] for key in mine.keys() & theirs.keys())


def _texts(tables: Tables, rows: Rows) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for table in rows.tables:
        names = [name for name in TEXTS if name in table.columns]
        columns = [PROMPT_ID, "generation", *names]
        for row in tables.tried(lambda t=table, c=columns: t.select(c).to_pylist(), []):
            found.setdefault((row[PROMPT_ID], row["generation"]), []).append(str([row[name] for name in names]))
    return {key: sorted(texts) for key, texts in found.items()}
