"""Parquet artefacts as tables of rows that carry their prompt's id: what they hold, and where a prompt stands in them.

Only the columns and row groups that a question needs are read: files are sorted by prompt_id or scanned by that
column alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse.errors import RecordError
from stillhouse.provenance.lineage import Lineage, Node

T = TypeVar("T")

PROMPT_ID = "prompt_id"
UNREADABLE = (OSError, ValueError, pa.ArrowException)
"""What pyarrow raises on files that are damaged or gone."""

KINDS = (
    ("shard", {"transcript", "stage"}, set()),
    ("answers", {"transcript", "answer"}, {"stage"}),
    ("dropped", {"stage", "reason", "detail"}, set()),
    ("failures", {"stage", "reason"}, {"transcript"}),
    ("pairs", {"chosen", "rejected"}, set()),
    ("quality", {"score", "scores"}, set()),
    ("responses", {"subject", "answer"}, set()),
    ("markers", {"subject", "capped"}, set()),
    ("breaks", {"subject", "broken"}, set()),
    ("checks", {"subject", "passed"}, set()),
    ("rubric", {"subject", "components"}, set()),
    ("pairwise", {"first", "second", "verdict"}, set()),
    ("dataset", {"generation", "calls"}, {"transcript", "stage"}),
    ("prompts", {"messages", "metadata"}, {"generation"}),
)
"""(kind, columns that it has, columns that it has not); the first that fits counts."""

DATASETS = ("dataset", "pairs")

OF_FILES = "collect_answers"
"""The rule that reads answers out of the user's files: its tables are prompts and answers in one."""

MARKS = ("set", "generation", "subject")
"""Columns that tell rows of one origin from others of the same prompt."""


def kind_of(columns: set[str]) -> str:
    """What a table with these columns is: one of `KINDS`, or `rows`."""
    return next((kind for kind, has, lacks in KINDS if has <= columns and not lacks & columns), "rows")


class Table:
    """One parquet artefact. Every method raises `RecordError` when the file is damaged."""

    def __init__(self, lineage: Lineage, node: Node, path: str) -> None:
        self.lineage, self.node, self.path = lineage, node, path

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        # the file is not kept open: a study may have more of them than a process may open
        try:
            return pq.read_metadata(self.lineage.root / self.path)
        except UNREADABLE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> RecordError:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({str(error)[:120]})"
        return RecordError(f"{self.path} ({self.node.job}): {reason}; `--verify` tells what was changed")

    @cached_property
    def columns(self) -> set[str]:
        """Names of its columns."""
        return set(self._metadata.schema.to_arrow_schema().names)

    @cached_property
    def kind(self) -> str:
        """What its rows are, by its columns."""
        return kind_of(self.columns)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self._metadata.num_rows

    def constants(self) -> dict[str, str]:
        """Those of `MARKS` that have one value in the whole file, by the file's own statistics."""
        metadata = self._metadata
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        found = {}
        for name in MARKS:
            known = [
                metadata.row_group(group).column(names.index(name)).statistics
                for group in range(metadata.num_row_groups)
                if name in names
            ]
            if known and all(one and one.has_min_max and not one.null_count for one in known):
                values = {value for one in known for value in (one.min, one.max)}
                if len(values) == 1:
                    found[name] = values.pop()
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """One whole column."""
        return self._read(None, [name])[name]

    def select(self, columns: list[str]) -> pa.Table:
        """Some whole columns."""
        return self._read(None, columns)

    def beginning_with(self, prefix: str) -> list[str]:
        """Prompt ids that begin with `prefix`, sorted."""
        groups = self._groups(prefix, prefix + "~")
        ids = self._read(groups, [PROMPT_ID])[PROMPT_ID]
        return sorted(pc.unique(ids.filter(pc.starts_with(ids, prefix))).to_pylist())

    def named(self, id_: str) -> list[str]:
        """Prompt ids of the rows whose `id` is `id_`, sorted."""
        if "id" not in self.columns:
            return []
        table = self._read(None, [PROMPT_ID, "id"])
        return sorted(pc.unique(table[PROMPT_ID].filter(pc.equal(table["id"], id_))).to_pylist())

    def count(self, prompt_id: str) -> int:
        """How many rows the prompt has."""
        return sum(len(places) for _, places in self._places(prompt_id))

    def rows_of(self, prompt_id: str) -> list[dict[str, Any]]:
        """The prompt's rows as dicts, with `row`, their number in the file from 0."""
        found = []
        for group, places in self._places(prompt_id):
            start = sum(self._metadata.row_group(number).num_rows for number in range(group))
            taken = self._read([group], None).take(places).to_pylist()
            found += [{"row": start + place.as_py(), **row} for place, row in zip(places, taken, strict=True)]
        return found

    def at(self, number: int, columns: list[str]) -> dict[str, Any]:
        """Some columns of the row with this number, from 0."""
        for group in range(self._metadata.num_row_groups):
            rows = self._metadata.row_group(group).num_rows
            if number < rows:
                return self._read([group], columns).slice(number, 1).to_pylist()[0]
            number -= rows
        raise IndexError(number)

    @cached_property
    def calls_named(self) -> int:
        """How many digests its rows name, by the file's own statistics where it has them."""
        metadata, total = self._metadata, 0
        names = [metadata.schema.column(number).path.split(".")[0] for number in range(metadata.num_columns)]
        for group in range(metadata.num_row_groups):
            column = metadata.row_group(group).column(names.index("calls"))
            if column.statistics is None or not column.statistics.has_null_count:
                return sum(len(digests) for digests in self.select(["calls"])["calls"].to_pylist() if digests)
            total += column.num_values - column.statistics.null_count
        return total

    def call_groups(self) -> Iterator[list[str]]:
        """Digests of the calls that its rows name, in their order: the different ones of a row group at a time."""
        for group in range(self._metadata.num_row_groups):
            yield pc.unique(pc.list_flatten(self._read([group], ["calls"])["calls"])).to_pylist()

    def _places(self, prompt_id: str) -> Iterator[tuple[int, pa.Array]]:
        """(row group, numbers of the rows within it) of a prompt's rows."""
        groups = self._groups(prompt_id, prompt_id)
        ids = self._read(groups, [PROMPT_ID])[PROMPT_ID]
        hits = pc.indices_nonzero(pc.equal(ids, prompt_id)).to_pylist()
        start = 0
        for group in groups:
            end = start + self._metadata.row_group(group).num_rows
            own = [hit - start for hit in hits if start <= hit < end]
            if own:
                yield group, pa.array(own, pa.int64())
            start = end

    def _groups(self, low: str, high: str) -> list[int]:
        """Row groups that may hold prompt ids from `low` to `high`, by the file's own statistics."""
        metadata, found = self._metadata, []
        if metadata.num_row_groups == 0:
            return found
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        number = names.index(PROMPT_ID)
        for group in range(metadata.num_row_groups):
            known = metadata.row_group(group).column(number).statistics
            if known is None or not known.has_min_max or (known.min <= high and low <= known.max):
                found.append(group)
        return found

    def _read(self, groups: list[int] | None, columns: list[str] | None) -> pa.Table:
        metadata = self._metadata
        groups = list(range(metadata.num_row_groups)) if groups is None else groups
        try:
            with pq.ParquetFile(self.lineage.root / self.path, metadata=metadata) as file:
                return file.read_row_groups(groups, columns=columns)
        except UNREADABLE as error:
            raise self._damaged(error) from error


@dataclass
class Tables:
    """The parquet artefacts of a results folder whose rows carry prompt ids; `damaged` tells those left out."""

    lineage: Lineage
    damaged: list[str] = field(default_factory=list)
    _open: dict[str, Table | None] = field(default_factory=dict)

    def get(self, path: str, column: str = PROMPT_ID) -> Table | None:
        """The table `path`; None where it is no artefact, lacks `column`, or is damaged."""
        if path not in self._open:
            node = self.lineage.node_of(path)
            self._open[path] = Table(self.lineage, node, path) if node and path.endswith(".parquet") else None
        table = self._open[path]
        return table if table and column in self.tried(lambda: table.columns, set()) else None

    def is_damaged(self, path: str) -> bool:
        """Whether a question about the table `path` could not be answered."""
        return any(text.startswith(f"{path} (") for text in self.damaged)

    def tried(self, question: Callable[[], T], otherwise: T) -> T:
        """The answer to a question about a table, or `otherwise` where its file turns out to be damaged."""
        try:
            return question()
        except RecordError as error:
            if str(error) not in self.damaged:
                self.damaged.append(str(error))
            return otherwise

    def rows_of(self, table: Table, prompt_id: str) -> list[dict[str, Any]]:
        """The prompt's rows in `table`; none where it is damaged."""
        return self.tried(lambda: table.rows_of(prompt_id), [])

    def of(self, node: Node) -> list[Table]:
        """The tables with prompt ids that a job made."""
        return [table for path in node.artefacts if (table := self.get(path))]

    def all(self, *kinds: str) -> list[Table]:
        """All tables of these kinds, without shards, in the order of their records."""
        found = [table for node in self.lineage.nodes if not is_shard(node) for table in self.of(node)]
        return [table for table in found if not kinds or table.kind in kinds]

    def prompts(self) -> list[Table]:
        """Where prompts begin: the tables of prompt sets, and of answers that were read beside their prompts."""
        found = self.all("prompts", "answers")
        return [table for table in found if table.kind == "prompts" or table.node.rule == OF_FILES]


def is_shard(node: Node) -> bool:
    """Whether a job answered one shard of many."""
    recipe = node.record.get("recipe") or {}
    return isinstance(recipe.get("shard"), int) and isinstance(recipe.get("shards"), int)


def may_hold(node: Node, prompt_id: str) -> bool:
    """Whether a shard can hold the prompt: shard = first 32 bits of the prompt id, modulo the number of shards."""
    if not is_shard(node) or node.record["recipe"]["shards"] < 1:
        return True
    try:
        return int(prompt_id[:8], 16) % node.record["recipe"]["shards"] == node.record["recipe"]["shard"]
    except ValueError:
        return True
