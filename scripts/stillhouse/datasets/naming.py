"""Names of dropped rows, and why each of them went: for dropped.parquet and for the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stillhouse.datasets.decontaminate import Hit
from stillhouse.datasets.rows import Prompt
from stillhouse.datasets.select import Duplicates
from stillhouse.datasets.sources import Answers
from stillhouse.datasets.straddling import Straddler
from stillhouse.provenance.digests import canonical_json

LISTED = 1_000
"""Duplicates and hits that the report lists one by one; dropped.parquet has all of them."""

DROPPED = pa.schema(
    [
        *((name, pa.string()) for name in ("prompt_id", "set", "id", "generation")),
        ("sample", pa.int32()),
        *((name, pa.string()) for name in ("stage", "reason", "detail")),
    ]
)
"""Columns of dropped.parquet."""


class Names:
    """The identities of some rows, read in one pass."""

    def __init__(self, answers: Answers, rows: np.ndarray) -> None:
        wanted = np.zeros(answers.rows, bool)
        wanted[rows] = True
        self._rows = np.flatnonzero(wanted)
        parts = []
        for batch in answers.batches(("prompt_id", "set", "id", "sample"), wanted) if len(rows) else ():
            part = batch.table.take(pa.array(np.flatnonzero(wanted[answers.rows_of(batch)])))
            parts.append(part.append_column("generation", pa.repeat(batch.generation, len(part))))
        table = pa.Table.from_batches(parts) if parts else None
        self._columns = {} if table is None else {name: table[name].to_pylist() for name in _NAMED}

    def __getitem__(self, row: int) -> dict[str, Any]:
        """generation, prompt_id, set, id and sample of a row."""
        place = int(np.searchsorted(self._rows, row))
        found = {name: column[place] for name, column in self._columns.items()}
        return {**found, "sample": found["sample"] or 0}


_NAMED = ("generation", "prompt_id", "set", "id", "sample")


class Details:
    """What is told of a dropped row beside its reason: the row or held-out prompt that it was too near to."""

    def __init__(
        self,
        answers: Answers,
        duplicates: Duplicates,
        hits: Sequence[Hit],
        straddlers: Sequence[Straddler],
        held_out: Sequence[Prompt],
        place: np.ndarray,
    ) -> None:
        self._held_out = held_out
        self._hits = {hit.row: hit for hit in hits}
        near = [*zip(duplicates.rows, duplicates.kept, duplicates.similarity, strict=True)]
        near += [(one.row, one.other, one.similarity) for one in straddlers]
        self._near = {int(row): (int(other), float(similarity)) for row, other, similarity in near}
        listed = sorted(duplicates.rows.tolist(), key=lambda row: int(place[row]))[:LISTED]
        self._listed = (listed, sorted(self._hits, key=lambda row: int(place[row]))[:LISTED])
        named = [*(other for _, other, _ in near), *self._listed[0], *self._listed[1]]
        self._names = Names(answers, np.array(named, np.int64))

    def of(self, row: int) -> str | None:
        """The detail of a row as canonical JSON; None where there is none."""
        if row in self._hits:
            return canonical_json(self._hit(self._hits[row]))
        found = self._near_of(row)
        return None if found is None else canonical_json(found)

    def _near_of(self, row: int) -> dict[str, Any] | None:
        if row not in self._near:
            return None
        other, similarity = self._near[row]
        return {"kept": self._names[other], "similarity": round(similarity, 4)}

    def _hit(self, hit: Hit) -> dict[str, Any]:
        held = self._held_out[hit.held_out]
        held_out = {"prompt_id": held.prompt_id, "set": held.set, "id": held.id}
        return {"held_out": held_out, "test": hit.test, "similarity": hit.similarity}

    def duplicates(self) -> list[dict[str, Any]]:
        """The first duplicates, for the report."""
        return [{"row": self._names[row], **(self._near_of(row) or {})} for row in self._listed[0]]

    def hits(self) -> list[dict[str, Any]]:
        """The first hits, for the report."""
        return [{"row": self._names[row], **self._hit(self._hits[row])} for row in self._listed[1]]
