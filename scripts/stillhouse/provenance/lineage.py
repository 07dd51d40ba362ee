"""The graph of records below a results folder: ancestry of an artefact down to single calls, and its verification.

Works on results/ alone: neither study nor code nor git is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.llm.ledger import Ledger, decode_line, scan_file
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.records import read_record


@dataclass(frozen=True)
class Node:
    """One job and the artefacts that it made."""

    file: Path
    record: dict[str, Any]

    @property
    def artefacts(self) -> list[str]:
        """Paths of everything that the job made."""
        return [artefact["path"] for artefact in self.record["artefacts"]]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Name, path, sha256 and size of everything that it read."""
        return self.record["inputs"]


@dataclass(frozen=True)
class Fault:
    """A file that is not what the records say, and the job concerned."""

    path: str
    rule: str
    reason: str


@dataclass
class Verification:
    """What `verify` looked at and found."""

    files: int = 0
    calls: int = 0
    faults: list[Fault] = field(default_factory=list)


class Lineage:
    """All records below `root`/results; paths in records are relative to `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.nodes: list[Node] = []
        self.broken: list[Fault] = []
        self._by_artefact: dict[str, Node] = {}
        for file in sorted(record_files(root / "results")):
            self._add(file)

    def _add(self, file: Path) -> None:
        try:
            node = Node(file.relative_to(self.root), read_record(file))
        except RecordError as error:
            self.broken.append(Fault(str(file.relative_to(self.root)), "?", str(error)))
            return
        self.nodes.append(node)
        self._by_artefact.update(dict.fromkeys(node.artefacts, node))

    def node_of(self, path: str) -> Node | None:
        """The job that made `path`, None for a source file."""
        return self._by_artefact.get(path)

    def find(self, path: str) -> Node:
        """The job that made `path`; raises `RecordError` when no record names it."""
        try:
            relative = (self.root / path).resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            relative = path
        node = self.node_of(relative)
        if node is None:
            broken = [
                fault for fault in self.broken if relative in (fault.path.removesuffix(".record.json"), fault.path)
            ]
            hint = f" ({broken[0].reason})" if broken else ""
            raise RecordError(f"no record below {self.root / 'results'} names {relative!r} as an artefact{hint}")
        return node

    def parents(self, node: Node) -> list[Node]:
        """The jobs whose artefacts `node` read, once each, in the order of its inputs."""
        found = [self.node_of(item["path"]) for item in node.inputs]
        return list({id(parent): parent for parent in found if parent}.values())

    def sources(self, node: Node) -> list[dict[str, Any]]:
        """Inputs of `node` that no job made: the user's own files."""
        return [item for item in node.inputs if self.node_of(item["path"]) is None]

    def ancestry(self, node: Node) -> list[Node]:
        """`node` and everything it came from, each job once, ancestors after what they led to."""
        order: dict[int, Node] = {}
        waiting = [node]
        while waiting:
            current = waiting.pop(0)
            if id(current) not in order:
                order[id(current)] = current
                waiting.extend(self.parents(current))
        return list(order.values())

    def call_digests(self, node: Node) -> list[str]:
        """Digests of the calls that the rows of a job's parquet files name, sorted."""
        import pyarrow.parquet as pq

        found: set[str] = set()
        for path in node.artefacts:
            file = self.root / path
            if file.suffix == ".parquet" and file.is_file() and "calls" in pq.read_schema(file).names:
                for calls in pq.read_table(file, columns=["calls"])["calls"].to_pylist():
                    found.update(calls or ())
        return sorted(found)


def record_files(results: Path) -> Iterator[Path]:
    """All records below `results`, without the store and the ledger."""
    for pattern in ("record.json", "*.record.json"):
        for file in results.rglob(pattern):
            parts = file.relative_to(results).parts
            if parts[0] not in (".store", "ledger"):
                yield file


def verify(lineage: Lineage, node: Node, ledger_folder: Path) -> Verification:
    """Rehash `node`'s artefacts and all its ancestors, sources and calls.

    Every fault names the file and the rule concerned; nothing is repaired.
    """
    result = Verification()
    seen: set[str] = set()
    for current in lineage.ancestry(node):
        for item in [*current.record["artefacts"], *current.inputs]:
            key = f"{item['path']} {item['sha256']}"
            if key not in seen:
                seen.add(key)
                result.files += 1
                result.faults.extend(_check_file(lineage.root, item, current.record["rule"]))
    result.faults.extend(lineage.broken)
    _check_calls(lineage, node, ledger_folder, result)
    return result


def _check_file(root: Path, item: dict[str, Any], rule: str) -> Iterator[Fault]:
    file = root / item["path"]
    if not file.is_file():
        yield Fault(item["path"], rule, "missing")
    elif digest_file(file) != item["sha256"]:
        yield Fault(item["path"], rule, f"changed: sha256 is not {item['sha256'][:12]}… any more")


def _check_calls(lineage: Lineage, node: Node, folder: Path, result: Verification) -> None:
    wanted: dict[str, str] = {}
    for current in lineage.ancestry(node):
        try:
            wanted.update(dict.fromkeys(lineage.call_digests(current), current.record["rule"]))
        except (OSError, ValueError):  # a damaged parquet file: told as changed already
            continue
    if not wanted:
        return
    for file in sorted(folder.glob("*.jsonl")):
        for number, _, line in scan_file(file):
            try:
                decode_line(line)
            except ValueError as error:
                name = file.relative_to(lineage.root) if file.is_relative_to(lineage.root) else file
                result.faults.append(Fault(str(name), "calls", f"line {number}: {error}"))
    ledger = Ledger(folder)
    for digest, rule in wanted.items():
        result.calls += 1
        if digest not in ledger:
            result.faults.append(Fault(str(folder), rule, f"call {digest} has no answer in the ledger"))
