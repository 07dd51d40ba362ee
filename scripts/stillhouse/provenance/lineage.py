"""The graph of records below a results folder: who made a file, from what, and who read it.

Works on results/ alone: neither study nor code nor git is read. Paths are relative to the folder that holds results/.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.records import read_record

RESULTS = "results"
RECORD, SUFFIX = "record.json", ".record.json"
APART = (".store", ".token.json", "ledger")
"""What of results/ holds no records and is no artefact."""

_FILE = {"path": str, "sha256": str, "size": int}


@dataclass(frozen=True, eq=False)
class Node:
    """One job and the artefacts that it made; `file` is its record."""

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

    @property
    def rule(self) -> str:
        """The rule of the job."""
        return self.record["rule"]

    @property
    def wildcards(self) -> dict[str, str]:
        """What tells the job from others of its rule."""
        return self.record.get("wildcards", {})

    @cached_property
    def job(self) -> str:
        """Rule and wildcards in words, as `answer_shard generation=plans shard=0`."""
        return job_name(self.rule, self.wildcards)

    @cached_property
    def usage(self) -> dict[str, Any] | None:
        """Calls made and replayed, and tokens; None for a job that asks no model."""
        known = self.record.get("usage") or self.record.get("facts") or {}
        return known if "calls_made" in known else None

    def sha256_of(self, path: str) -> str | None:
        """Digest of one artefact of the job, None when it made no such file."""
        return next((item["sha256"] for item in self.record["artefacts"] if item["path"] == path), None)


@dataclass(frozen=True)
class Broken:
    """A record that cannot be trusted, and what its text still says of the job."""

    path: str
    reason: str
    rule: str
    wildcards: dict[str, str]
    artefacts: tuple[str, ...] = field(default=())

    @property
    def job(self) -> str:
        """Rule and wildcards as far as they can be read."""
        return job_name(self.rule, self.wildcards)

    def stands_for(self, path: str) -> bool:
        """Whether `path` is, or lies beside, what the record is of; or is the folder that it is of."""
        folder = Path(self.path).parent if Path(self.path).name == RECORD else None
        beside = folder in (Path(path), Path(path).parent)
        return path in self.artefacts or path in (self.path, self.path.removesuffix(SUFFIX)) or beside


def job_name(rule: str, wildcards: dict[str, str]) -> str:
    """A job in words."""
    return " ".join([rule, *(f"{name}={value}" for name, value in wildcards.items())])


class Lineage:
    """All records below `root`/results."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.nodes: list[Node] = []
        self.broken: list[Broken] = []
        self._by_artefact: dict[str, Node] = {}
        self._by_record: dict[str, Node] = {}
        spoilt = [found for file in sorted(record_files(root / RESULTS)) if (found := self._add(file))]
        rules = {node.rule for node in self.nodes}
        self.broken.extend(_salvage(root, file, reason, rules) for file, reason in spoilt)

    def _add(self, file: Path) -> tuple[Path, str] | None:
        """Take a record in; a record that cannot be trusted is returned with the reason."""
        relative = file.relative_to(self.root)
        try:
            record = read_record(file)
        except (RecordError, ValueError, RecursionError) as error:
            return relative, str(error).removeprefix(f"{file}: ")
        lacking = _lacking(record)
        if lacking:
            return relative, f"it lacks {lacking}"
        node = Node(relative, record)
        self.nodes.append(node)
        self._by_artefact.update(dict.fromkeys(node.artefacts, node))
        self._by_record[relative.as_posix()] = node
        return None

    @cached_property
    def _readers(self) -> dict[str, list[Node]]:
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for path in dict.fromkeys(item["path"] for item in node.inputs):
                readers.setdefault(path, []).append(node)
        return readers

    @cached_property
    def keys(self) -> dict[str, list[Node]]:
        """Build key -> jobs; keys under which an artefact was made before a refactoring was accepted, too."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for key in (node.record["key"], *(note["key"] for note in node.record.get("accepted") or ())):
                found.setdefault(key, []).append(node)
        return found

    def node_of(self, path: str) -> Node | None:
        """The job that made `path`, an artefact or a record; None for a source file."""
        return self._by_artefact.get(path) or self._by_record.get(path)

    def is_record(self, path: str) -> bool:
        """Whether `path` is the record of a job."""
        return path in self._by_record

    def readers(self, path: str) -> list[Node]:
        """The jobs that read `path`."""
        return self._readers.get(path, [])

    def relative(self, path: str | Path) -> str:
        """`path`, seen from the root or from here, as records name it; one outside the root stays as it is."""
        results = self.root / RESULTS
        for base in (self.root / path, Path(path)):
            ways = ((os.path.abspath(base), os.path.abspath(self.root), ""), (base.resolve(), self.root.resolve(), ""))
            for place, folder, prefix in (
                *ways,
                (base.resolve(), results.resolve(), RESULTS),
            ):  # results/ may be a link
                if Path(place).is_relative_to(folder):
                    name = (Path(prefix) / Path(place).relative_to(folder)).as_posix()
                    if name in self._by_artefact or (self.root / name).exists():
                        return name
        return Path(path).as_posix()

    def find(self, path: str | Path) -> Node:
        """The job that made `path`: an artefact, a record, or a folder that one job filled.

        Raises `RecordError` when no record names it, or several do.
        """
        relative = self.relative(path)
        node = self.node_of(relative)
        if node is None and (self.root / relative).is_dir():
            node = self._of_folder(relative)
        if node is None:
            self._refuse(relative)
        return node

    def _of_folder(self, folder: str) -> Node | None:
        own = [node for node in self.nodes if node.file.as_posix() == f"{folder}/{RECORD}"]
        inside = own or [node for node in self.nodes if any(path.startswith(f"{folder}/") for path in node.artefacts)]
        if len(inside) > 1:
            names = ", ".join(node.artefacts[0] for node in inside[:8])
            more = f" and {len(inside) - 8} more" if len(inside) > 8 else ""
            raise RecordError(f"{len(inside)} jobs made files below {folder}: name one of {names}{more}")
        return inside[0] if inside else None

    def _refuse(self, relative: str) -> None:
        hints = [broken for broken in self.broken if broken.stands_for(relative)]
        if hints:
            raise RecordError(f"the record of {relative} is {hints[0].path} ({hints[0].job}): {hints[0].reason}")
        if not self.nodes and not self.broken:
            raise RecordError(f"there are no records below {self.root / RESULTS}: is --directory right?")
        readers = self.readers(relative)
        if readers:
            raise RecordError(
                f"{relative} is a source file, no job made it; `--forward {relative}` shows what came of it"
            )
        raise RecordError(f"no record below {self.root / RESULTS} names {relative!r} as an artefact")

    def parents(self, node: Node) -> list[Node]:
        """The jobs whose artefacts `node` read, once each, in the order of its inputs."""
        return list(dict.fromkeys(parent for item in node.inputs if (parent := self.node_of(item["path"]))))

    def children(self, node: Node) -> list[Node]:
        """The jobs that read an artefact of `node`, once each."""
        return list(dict.fromkeys(reader for path in node.artefacts for reader in self.readers(path)))

    def sources(self, node: Node) -> list[dict[str, Any]]:
        """Inputs of `node` that no job made: the user's own files."""
        return [item for item in node.inputs if self.node_of(item["path"]) is None]

    def outdated(self, node: Node) -> list[dict[str, Any]]:
        """Inputs that another job made, and made anew since `node` read them."""
        pairs = ((item, self.node_of(item["path"])) for item in node.inputs)
        made = [(item, parent) for item, parent in pairs if parent and not self.is_record(item["path"])]
        return [item for item, parent in made if parent.sha256_of(item["path"]) != item["sha256"]]

    def ancestry(self, *nodes: Node) -> list[Node]:
        """`nodes` and everything they came from, each job once, ancestors after what they led to."""
        return self._walk(nodes, self.parents)

    def descent(self, *nodes: Node) -> list[Node]:
        """`nodes` and everything that came of them, each job once, a job after one that it read from at least."""
        return self._walk(nodes, self.children)

    def _walk(self, start: Iterable[Node], step: Any) -> list[Node]:
        order: dict[Node, None] = {}
        waiting = list(start)
        for current in waiting:
            if current not in order:
                order[current] = None
                waiting.extend(step(current))
        return list(order)


def record_files(results: Path) -> Iterator[Path]:
    """All records below `results`, without the store and the ledger."""
    for folder, names, files in os.walk(results):
        if Path(folder) == results:
            names[:] = [name for name in names if name not in APART]
        for file in files:
            if file == RECORD or file.endswith(SUFFIX):
                yield Path(folder) / file


def _lacking(record: dict[str, Any]) -> str | None:
    """What a sealed record has to hold and does not; None when it is whole."""
    for name, kind in (("rule", str), ("key", str), ("artefacts", list), ("inputs", list)):
        if not isinstance(record.get(name), kind):
            return name
    for name, more in (("artefacts", {}), ("inputs", {"name": str})):
        for item in record[name]:
            if not isinstance(item, dict) or not all(isinstance(item.get(k), t) for k, t in {**_FILE, **more}.items()):
                return f"path, sha256 or size in its {name}"
    return None if record["artefacts"] else "artefacts"


def _salvage(root: Path, file: Path, reason: str, rules: set[str]) -> Broken:
    """What the text of a damaged record says of its job; where the rule's name is damaged, its script stands for it."""
    try:
        text = (root / file).read_bytes().decode("utf-8", "replace")
    except OSError:
        text = ""
    rule = re.search(r'^  "rule": "(\w+)"', text, re.MULTILINE)
    script = re.search(r'"scripts/(\w+)\.py": ', text)
    named = rule.group(1) if rule else None
    if script and named not in (*rules, script.group(1)):
        named = script.group(1)
    wildcards = re.search(r'^  "wildcards": \{([^{}]*)\}', text, re.MULTILINE)
    artefacts = re.search(r'^  "artefacts": \[(.*?)^  \]', text, re.MULTILINE | re.DOTALL)
    return Broken(
        file.as_posix(),
        reason,
        named or "a job that cannot be read",
        dict(re.findall(r'"(\w+)": "([^"]*)"', wildcards.group(1))) if wildcards else {},
        tuple(re.findall(r'"path": "([^"]*)"', artefacts.group(1))) if artefacts else (),
    )
