"""What came of a source file, an artefact or a prompt: every file that contains it, row by row where files have rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.errors import RecordError
from stillhouse.provenance.dataset_facts import dataset_facts
from stillhouse.provenance.lineage import Lineage, Node
from stillhouse.provenance.tables import PROMPT_ID, Table, Tables, is_shard, may_hold

ROWS, MADE_FROM, WITHOUT = "rows", "made from it", "without it"
SIDES = ("first", "second")


@dataclass(frozen=True)
class Reached:
    """A file that was reached.

    `how` is `rows` (it holds `rows` of its `of` rows of what was asked for), `made from it` (its job read a file that
    contains it, under the input names `through`) or `without it` (its job read it and none of it is left; `why` says
    more, where that can be told).
    """

    path: str
    node: Node
    how: str
    rows: int | None = None
    of: int | None = None
    through: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        kept = {name: getattr(self, name) for name in ("path", "how", "rows", "of")}
        return {**kept, "job": self.node.job, "through": list(self.through), "why": list(self.why)}


@dataclass(frozen=True)
class Held:
    """Rows of `table`: those of `prompts`, None for all. `marks` are values that rows made of them share with them."""

    table: Table | None
    prompts: pa.Array | None
    marks: dict[str, str] = field(default_factory=dict)

    def ids(self) -> pa.Array:
        """Prompt ids of the rows; raises `RecordError` when they have to be read and the file is damaged."""
        return pc.unique(self.table.column(PROMPT_ID)) if self.prompts is None else self.prompts


@dataclass
class Impact:
    """Walks from a start to all files below it; ask one question of each instance."""

    tables: Tables
    reached: dict[str, Reached] = field(default_factory=dict)
    _held: dict[str, Held] = field(default_factory=dict)
    _prompt: str | None = None

    def of_prompt(self, prompt_id: str) -> list[Reached]:
        """Files that contain the prompt."""
        self._prompt = prompt_id
        wanted = Held(None, pa.array([prompt_id]))
        starts = [table for table in self.tables.prompts() if self._hold(table, [wanted])]
        if not starts:  # its prompt set is gone: begin where it still stands
            starts = [table for table in self.tables.all() if self._hold(table, [wanted])]
        return self._spread([table.node for table in starts])

    def of_path(self, path: str) -> list[Reached]:
        """What came of one file, made by a job or a source; raises `RecordError` when no record knows it."""
        made, readers = self.tables.lineage.node_of(path), self.tables.lineage.readers(path)
        if made is None and not readers:
            raise RecordError(f"no record below results/ names {path!r}")
        if made is None:
            return self.of_jobs(readers)
        self._take(path, made)
        return self._spread([made])

    def of_jobs(self, nodes: Iterable[Node]) -> list[Reached]:
        """What came of all files that some jobs made, these among them."""
        for node in nodes:
            for path in node.artefacts:
                self._take(path, node)
        return self._spread(nodes)

    def _take(self, path: str, node: Node) -> None:
        """Begin with a whole file."""
        table = self.tables.get(path)
        if table is None:
            self.reached[path] = Reached(path, node, MADE_FROM)
            return
        self._hold_whole(table, ())

    def _hold_whole(self, table: Table, through: tuple[str, ...]) -> bool:
        """Note all rows of `table`; False when it has none."""
        self._held[table.path] = Held(table, None, table.constants())
        self.reached[table.path] = Reached(table.path, table.node, ROWS, table.rows, table.rows, through)
        return table.rows > 0

    def _hold(self, table: Table, wanted: list[Held], through: tuple[str, ...] = ()) -> bool:
        """Note the rows of `table` that are among `wanted`; False when there are none."""
        ids = self.tables.tried(lambda: _matching(table, wanted), pa.array([], pa.string()))
        if len(ids) == 0:
            return False
        self._held[table.path] = Held(table, pc.unique(ids), table.constants())
        self.reached[table.path] = Reached(table.path, table.node, ROWS, len(ids), table.rows, through)
        return True

    def _spread(self, starts: Iterable[Node]) -> list[Reached]:
        begun = set(starts)
        for node in in_order(self.tables.lineage.descent(*begun), self.tables.lineage):
            if node not in begun and (self._prompt is None or may_hold(node, self._prompt)):
                self._visit(node)
        return list(self.reached.values())

    def _visit(self, node: Node) -> None:
        """Work out which outputs of a job contain what its inputs contain."""
        self._look_for_shard(node)
        rows = [item for item in node.inputs if item["path"] in self._held]
        made = [item for item in node.inputs if _is_made(self.reached.get(item["path"]))]
        through = tuple(dict.fromkeys(item["name"] for item in [*rows, *made]))
        tables = [
            table for table in self.tables.of(node) if table.kind != "dropped"
        ]  # what was left out reaches nothing
        wanted = [self._held[item["path"]] for item in rows]
        if wanted and self._all_whole(node):
            holding = [table for table in tables if self._hold_whole(table, through)]
        else:
            holding = [table for table in tables if wanted and self._hold(table, wanted, through)]
        unread = bool(rows or made) and self._note_unreadable(node, through)
        if rows and tables and not holding and not made and not unread:
            self._note_absence(node, rows, through)
        elif rows or made:
            self._note_made(node, tables, bool(made), through)

    def _look_for_shard(self, node: Node) -> None:
        """Where the shard that should hold the prompt does not, another may: look into all that a merge read."""
        shards = [parent for parent in self.tables.lineage.parents(node) if is_shard(parent)]
        if self._prompt and shards and not any(path in self.reached for one in shards for path in one.artefacts):
            for shard in shards:
                self._visit(shard)

    def _note_unreadable(self, node: Node, through: tuple[str, ...]) -> bool:
        """A damaged file may hold it; to leave out what was made of it would be worse than to tell too much."""
        damaged = [path for path in node.artefacts if path not in self.reached and self.tables.is_damaged(path)]
        for path in damaged:
            why = ("it cannot be read, so it may hold it",)
            self.reached[path] = Reached(path, node, MADE_FROM, through=through, why=why)
        return bool(damaged)

    def _all_whole(self, node: Node) -> bool:
        """Whether all rows that a job read count; then so do all that it made, as rows are made of rows."""
        read = [item["path"] for item in node.inputs if self.tables.get(item["path"])]
        return all(path in self._held and self._held[path].prompts is None for path in read)

    def _note_made(self, node: Node, tables: list[Table], whole: bool, through: tuple[str, ...]) -> None:
        """Outputs without rows of it: made from it, but for row files whose job picked rows alone."""
        sizes = {table.path: table.rows for table in tables}
        for path in node.artefacts:
            if path not in self.reached and (whole or path not in sizes):
                self.reached[path] = Reached(path, node, MADE_FROM, None, sizes.get(path), through)

    def _note_absence(self, node: Node, rows: list[dict[str, Any]], through: tuple[str, ...]) -> None:
        """A job that read rows of it and kept none; shards are left out, as each takes its own prompts."""
        if is_shard(node):
            return
        path, why = node.artefacts[0], ()
        if self._prompt:
            answers = [one for item in rows for one in self._answers(item["path"])]
            facts = dataset_facts(self.tables, node, answers, {}, self._dropped(node)) if answers else ()
            why = tuple(dict.fromkeys(reason for one in facts for reason in one["dropped"]))
        self.reached[path] = Reached(path, node, WITHOUT, through=through, why=why)

    def _dropped(self, node: Node) -> list[dict[str, Any]]:
        found = [table for table in self.tables.of(node) if table.kind == "dropped"]
        return [row for table in found for row in self.tables.rows_of(table, self._prompt)]

    def _answers(self, path: str) -> list[dict[str, Any]]:
        table = self.tables.get(path)
        if table is None or table.kind != "answers":
            return []
        return [{**row, "file": path} for row in self.tables.rows_of(table, self._prompt)]


def _is_made(reached: Reached | None) -> bool:
    return reached is not None and reached.how == MADE_FROM


def _matching(table: Table, wanted: list[Held]) -> pa.ChunkedArray:
    """Prompt ids of the rows that are among `wanted`, one for each row."""
    some = [held.prompts for held in wanted if held.prompts is not None and len(held.prompts) == 1]
    names = {prompts[0].as_py() for prompts in some}
    if len(some) == len(wanted) and len(names) == 1:
        alone = names.pop()
        rows = [row for row in table.rows_of(alone) if any(_shares(row, held.marks) for held in wanted)]
        return pa.chunked_array([[alone] * len(rows)], pa.string())
    ids, mask = table.column(PROMPT_ID), None
    for held in wanted:
        one = pc.is_in(ids, value_set=held.ids())
        for name, value in held.marks.items():
            if name in table.columns:
                one = pc.and_(one, _equal(table, name, value))
            elif name == "subject" and set(SIDES) <= table.columns:
                one = pc.and_(one, pc.or_(*(_equal(table, side, value) for side in SIDES)))
        mask = one if mask is None else pc.or_(mask, one)
    return ids.filter(mask)


def _equal(table: Table, name: str, value: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(table.column(name), value), False)


def _shares(row: dict[str, Any], marks: dict[str, str]) -> bool:
    """Whether a row has the marks, as far as it has columns for them; a comparison has two subjects."""
    for name, value in marks.items():
        columns = SIDES if name == "subject" and name not in row else (name,)
        found = [row[column] for column in columns if column in row]
        if found and value not in found:
            return False
    return True


def in_order(nodes: list[Node], lineage: Lineage) -> list[Node]:
    """`nodes` so that each comes after all of them that it read from."""
    inside, order, done = set(nodes), [], set()
    for first in nodes:
        stack = [(first, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                stack.extend((parent, False) for parent in reversed(lineage.parents(node)) if parent in inside)
    return order


def find_set(tables: Tables, name: str) -> list[Node]:
    """The jobs that read the prompt sets called `name`, of generations and of evaluations, and answers called so."""
    found = {table.node: PurePosixPath(table.path).stem for table in tables.prompts()}
    return [node for node, stem in found.items() if node.wildcards.get("answers", stem) == name]
