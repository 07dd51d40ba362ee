"""Where did this come from? Prints the ancestry of an artefact, from records alone.

python scripts/trace.py results/exports/mixed/mixed-Q4_K_M.gguf            the tree, down to calls
python scripts/trace.py --verify results/exports/mixed/mixed-Q4_K_M.gguf   rehash every ancestor
python scripts/trace.py --call DIGEST                                      one call, as the ledger holds it
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from stillhouse.errors import StillhouseError
from stillhouse.llm.ledger import Ledger
from stillhouse.provenance.lineage import Lineage, Node, verify

CALLS_SHOWN = 3


def main() -> int:
    """Entry point; 0 when all is well, 1 when something is missing or was changed."""
    arguments = _arguments()
    root = Path(arguments.directory)
    folder = root / arguments.ledger
    # lines are never cut: digests are meant to be copied
    console = Console(width=None if sys.stdout.isatty() else 400, soft_wrap=True, highlight=False)
    try:
        if arguments.call:
            return _show_call(folder, arguments.call)
        lineage = Lineage(root)
        node = lineage.find(arguments.artefact)
        if arguments.verify:
            return _verify(console, lineage, node, folder)
        if arguments.json:
            print(json.dumps(_plain(lineage, node), indent=2, ensure_ascii=False))
            return 0
        console.print(_tree(lineage, node, arguments.artefact, arguments.calls))
    except StillhouseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Where did this artefact come from?")
    parser.add_argument("artefact", nargs="?", help="a file below results/")
    parser.add_argument("--verify", action="store_true", help="rehash the artefact, all ancestors and their calls")
    parser.add_argument("--json", action="store_true", help="the ancestry as JSON")
    parser.add_argument("--calls", type=int, default=CALLS_SHOWN, help="digests of calls shown for a job")
    parser.add_argument("--call", metavar="DIGEST", help="print one call out of the ledger")
    parser.add_argument("--directory", default=".", help="the folder that holds results/ (default: here)")
    parser.add_argument("--ledger", default="results/ledger", help="the ledger's folder")
    arguments = parser.parse_args()
    if not arguments.artefact and not arguments.call:
        parser.error("name an artefact, or --call DIGEST")
    return arguments


def _label(node: Node, path: str) -> str:
    record = node.record
    sha = next((item["sha256"] for item in record["artefacts"] if item["path"] == path), "")
    reused = ", reused" if record["reused"] else ""
    return f"[bold]{escape(path)}[/]  sha256 {sha[:12]}  by {record['rule']}{reused}  key {record['key'][:12]}"


def _tree(lineage: Lineage, node: Node, artefact: str, shown: int) -> Tree:
    path = artefact if artefact in node.artefacts else node.artefacts[0]
    tree = Tree(_label(node, path))
    _grow(lineage, node, tree, {id(node)}, shown)
    return tree


def _grow(lineage: Lineage, node: Node, tree: Tree, seen: set[int], shown: int) -> None:
    """Add what `node` came from; a job that stands elsewhere in the tree is named, not repeated."""
    for item in lineage.sources(node):
        tree.add(f"{escape(item['path'])}  sha256 {item['sha256'][:12]}  source file")
    for parent in lineage.parents(node):
        read = [item for item in node.inputs if lineage.node_of(item["path"]) is parent]
        path = max(read, key=lambda item: item["size"])["path"]
        if id(parent) in seen:
            tree.add(f"{escape(path)}  (shown above)")
            continue
        seen.add(id(parent))
        _grow(lineage, parent, tree.add(_label(parent, path)), seen, shown)
    _add_calls(lineage, node, tree, shown)


def _add_calls(lineage: Lineage, node: Node, tree: Tree, shown: int) -> None:
    if node.record["rule"] not in ("answer_shard", "answer_subject", "judge_rubric", "judge_pairwise"):
        return
    digests = lineage.call_digests(node)
    branch = tree.add(f"{len(digests)} calls in the ledger")
    for digest in digests[:shown]:
        branch.add(f"call {digest}")
    if len(digests) > shown:
        branch.add(f"… and {len(digests) - shown} more (--calls {len(digests)} shows them)")


def _plain(lineage: Lineage, node: Node) -> list[dict]:
    return [
        {
            "rule": current.record["rule"],
            "record": str(current.file),
            "key": current.record["key"],
            "artefacts": current.record["artefacts"],
            "inputs": current.inputs,
            "calls": lineage.call_digests(current),
        }
        for current in lineage.ancestry(node)
    ]


def _verify(console: Console, lineage: Lineage, node: Node, folder: Path) -> int:
    result = verify(lineage, node, folder)
    for fault in result.faults:
        console.print(f"[red]FAULT[/] {escape(fault.path)} ({fault.rule}): {escape(fault.reason)}")
    if result.faults:
        console.print(f"{len(result.faults)} faults in {result.files} files and {result.calls} calls")
        return 1
    console.print(f"[green]verified[/]: {result.files} files and {result.calls} calls are what the records say")
    return 0


def _show_call(folder: Path, prefix: str) -> int:
    ledger = Ledger(folder)
    found = [digest for digest in ledger if digest.startswith(prefix)]
    if len(found) != 1:
        print(f"{len(found)} calls in {folder} start with {prefix!r}", file=sys.stderr)
        return 1
    print(json.dumps({"digest": found[0], **ledger.entry(found[0])}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
