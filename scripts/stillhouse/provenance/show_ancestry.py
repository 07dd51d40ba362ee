"""The ancestry of an artefact as a tree for people and as plain types for programs."""

from typing import Any

from rich.text import Text
from rich.tree import Tree

from stillhouse.provenance.lineage import Lineage, Node
from stillhouse.provenance.origin import Origin
from stillhouse.provenance.show_text import line, number_of
from stillhouse.provenance.tables import Tables

ALIKE = 12
"""Jobs of one rule, or source files, that are shown below one job; the others are counted."""


def ancestry_tree(tables: Tables, origin: Origin, calls: int) -> Tree:
    """What the artefact came from, down to source files and the first `calls` digests of each job's calls."""
    tree = Tree(_label(origin.node, origin.path))
    _grow(tables, origin.node, tree, {origin.node}, set(), calls)
    return tree


def _label(node: Node, path: str, note: str = "") -> Text:
    sha256 = (node.sha256_of(path) or "")[:12]
    reused = ", reused" if node.record.get("reused") else ""
    key = node.record["key"][:12]
    told = f"  sha256 {sha256}  by {node.job}{reused}  key {key}"
    return line((path, "bold"), told, (note, "yellow"))


def _grow(tables: Tables, node: Node, tree: Tree, seen: set[Node], sources: set[str], calls: int) -> None:
    """Add what `node` came from; a job that stands elsewhere in the tree is named, not repeated."""
    lineage = tables.lineage
    _add_sources(lineage, node, tree, sources)
    outdated = {item["path"]: item for item in lineage.outdated(node)}
    shown: dict[str, int] = {}
    for parent in lineage.parents(node):
        shown[parent.rule] = shown.get(parent.rule, 0) + 1
        if shown[parent.rule] > ALIKE:
            continue
        read = [item for item in node.inputs if lineage.node_of(item["path"]) is parent]
        path = max(read, key=lambda item: item["size"])["path"]
        path = parent.artefacts[0] if lineage.is_record(path) else path
        old = [item for item in read if item["path"] in outdated]
        note = f"  an earlier version was read: sha256 {old[0]['sha256'][:12]}" if old else ""
        if parent in seen:
            tree.add(line(f"{path}  (shown above)", (note, "yellow")))
            continue
        seen.add(parent)
        _grow(tables, parent, tree.add(_label(parent, path, note)), seen, sources, calls)
    for rule, count in shown.items():
        if count > ALIKE:
            tree.add(line(f"… and {count - ALIKE} more {rule} jobs (--json lists all)"))
    _add_calls(tables, node, tree, calls)


def _add_sources(lineage: Lineage, node: Node, tree: Tree, seen: set[str]) -> None:
    """The user's own files that a job read; those that stand above already are counted."""
    items = lineage.sources(node)
    new = [item for item in items if f"{item['path']} {item['sha256']}" not in seen]
    seen.update(f"{item['path']} {item['sha256']}" for item in new)
    for item in new[:ALIKE]:
        tree.add(line(f"{item['path']}  sha256 {item['sha256'][:12]}  source file"))
    if len(new) > ALIKE:
        tree.add(f"… and {len(new) - ALIKE} more source files (--json lists all)")
    if len(items) > len(new):
        tree.add(f"{number_of(len(items) - len(new), 'source file')} (shown above)")


def _add_calls(tables: Tables, node: Node, tree: Tree, shown: int) -> None:
    if node.usage is None:
        return
    named = calls_named(tables, node)
    digests = first_calls(tables, node, shown)
    made, replayed, read, written = (node.usage.get(name) for name in USAGE[:4])
    told = f"{made} made, {replayed} found there; {read} + {written} tokens"
    branch = tree.add(line(f"{number_of(named, 'call')} in the ledger ({told})"))
    for digest in digests:
        branch.add(line(f"call {digest}"))
    if named > len(digests):
        branch.add(f"… and {named - len(digests)} more (--calls {named} shows them)")


def calls_named(tables: Tables, node: Node) -> int:
    """How many calls the rows of a job name."""
    named = (table for path in node.artefacts if (table := tables.get(path, "calls")))
    return sum(tables.tried(lambda t=table: t.calls_named, 0) for table in named)


def first_calls(tables: Tables, node: Node, limit: int) -> list[str]:
    """The first `limit` digests that the rows of a job name, in the order of its files."""
    found: dict[str, None] = {}
    for path in node.artefacts:
        table = tables.get(path, "calls") if len(found) < limit else None
        if table:
            groups = table.call_groups()
            while len(found) < limit and (digests := tables.tried(lambda g=groups: next(g, None), None)) is not None:
                found.update(dict.fromkeys(digests))
    return list(found)[:limit]


def ancestry_facts(tables: Tables, origin: Origin, calls: int) -> dict[str, Any]:
    """The ancestry as plain JSON types: every job once, ancestors after what they led to."""
    lineage = tables.lineage
    return {
        "artefact": origin.path,
        "found": origin.said or None,
        "same_bytes": origin.same_bytes,
        "jobs": [_job_facts(lineage, tables, node, calls) for node in lineage.ancestry(origin.node)],
    }


def _job_facts(lineage: Lineage, tables: Tables, node: Node, calls: int) -> dict[str, Any]:
    return {
        "rule": node.rule,
        "wildcards": node.wildcards,
        "record": node.file.as_posix(),
        "key": node.record["key"],
        "reused": node.record.get("reused", False),
        "artefacts": node.record["artefacts"],
        "inputs": node.inputs,
        "sources": [item["path"] for item in lineage.sources(node)],
        "outdated": [item["path"] for item in lineage.outdated(node)],
        "usage": node.usage and {name: node.usage.get(name) for name in USAGE},
        "calls_named": calls_named(tables, node) if node.usage else 0,
        "calls": first_calls(tables, node, calls) if node.usage else [],
    }


USAGE = ("calls_made", "calls_replayed", "prompt_tokens", "completion_tokens", "usd")
