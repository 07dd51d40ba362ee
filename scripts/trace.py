"""Where did this come from, and what came of it? Asks the records of a results folder, and nothing else.

python scripts/trace.py results/exports/mixed/mixed-Q4_K_M.gguf      the tree behind an artefact, down to calls
python scripts/trace.py somewhere/else/model.gguf                    the same for a file found anywhere
python scripts/trace.py --row ID [--in FILE]                         one row: prompt, rounds, votes, calls, filters
python scripts/trace.py --forward PATH|PROMPT_ID|SET                 what contains it: rows, splits, adapters, GGUF files
python scripts/trace.py --diff A B                                   why two artefacts differ
python scripts/trace.py --verify [ARTEFACT]                          rehash everything, or what is behind one artefact
python scripts/trace.py --call DIGEST                                one call, as the ledger holds it
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from stillhouse.errors import RecordError, StillhouseError
from stillhouse.provenance.calls import CallIndex
from stillhouse.provenance.lineage import Lineage, Node
from stillhouse.provenance.show_text import line

CALLS_SHOWN = 3
PIPED_WIDTH = 4000
"""Columns when nobody looks: no line is broken, as digests are meant to be copied."""


class Trace:
    """One question to a results folder, answered on standard output."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.root = Path(arguments.directory)
        self.ledger = self.root / arguments.ledger
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        self.console = Console(width=width, soft_wrap=True, highlight=False)

    def answer(self) -> int:
        """Answer what the command line asks; returns the exit status, raises `StillhouseError`."""
        asked = self.arguments
        if asked.call is not None:
            return self.call(asked.call)
        lineage = Lineage(self.root)
        if asked.verify:
            return self.verify(lineage)
        for broken in lineage.broken:
            print(f"{broken.path} ({broken.job}): {broken.reason}; it is left out", file=sys.stderr)
        from stillhouse.provenance.tables import Tables

        tables = Tables(lineage)
        if asked.row is not None:
            self.row(tables)
        elif asked.forward is not None:
            self.forward(tables)
        elif asked.diff is not None:
            self.diff(tables)
        else:
            self.tree(tables)
        for damage in tables.damaged:
            print(damage, file=sys.stderr)
        return 1 if tables.damaged or lineage.broken else 0

    def _print(self, facts: Callable[[], Any], tree: Callable[[], Any]) -> None:
        """Print the facts as JSON where that is asked for, else the tree for people."""
        if self.arguments.json:
            print(json.dumps(facts(), indent=2, ensure_ascii=False))
        else:
            self.console.print(tree())

    def tree(self, tables: Any) -> None:
        """The ancestry of one artefact."""
        from stillhouse.provenance.origin import identify
        from stillhouse.provenance.show_ancestry import ancestry_facts, ancestry_tree

        origin, calls = identify(tables.lineage, self.arguments.artefact), self.arguments.calls
        if origin.said and not self.arguments.json:
            self.console.print(line(origin.said))
        self._print(lambda: ancestry_facts(tables, origin, calls), lambda: ancestry_tree(tables, origin, calls))

    def row(self, tables: Any) -> None:
        """A row, back to its prompt and calls."""
        from stillhouse.provenance.call_facts import CallBook
        from stillhouse.provenance.rows import RowStory, find_prompt
        from stillhouse.provenance.show_row import row_tree

        within = self._within(tables) if self.arguments.within else None
        prompt_id = find_prompt(tables, self.arguments.row, within)
        index = CallIndex(self.ledger, self.root) if self.ledger.is_dir() else None
        facts = RowStory(tables, CallBook(index), prompt_id, within).facts()
        self._print(lambda: facts, lambda: row_tree(facts))

    def _within(self, tables: Any) -> Any:
        lineage = tables.lineage
        path = lineage.relative(self.arguments.within)
        if lineage.node_of(path) is None:
            lineage.find(self.arguments.within)  # says what is wrong with the name
            raise RecordError(f"--in {path}: name one file, not a folder or a record")
        table = tables.get(path)
        if table is None:
            raise RecordError(tables.damaged[-1] if tables.damaged else f"{path} holds no rows with prompt ids")
        return table

    def forward(self, tables: Any) -> None:
        """What came of a file, a prompt set or a prompt."""
        from stillhouse.provenance.impact import Impact
        from stillhouse.provenance.show_impact import impact_tree

        title, reached = _impact(Impact(tables), tables, self.arguments.forward)
        self._print(
            lambda: {"of": title, "reached": [one.plain() for one in reached]}, lambda: impact_tree(title, reached)
        )

    def diff(self, tables: Any) -> None:
        """Why two artefacts differ."""
        from stillhouse.provenance.differences import steps_between
        from stillhouse.provenance.origin import identify
        from stillhouse.provenance.row_differences import dataset_rows_between
        from stillhouse.provenance.show_impact import difference_tree

        first, second = (identify(tables.lineage, name) for name in self.arguments.diff)
        steps = steps_between(tables.lineage, first.node, second.node)
        a, b = _side(first), _side(second)
        facts = {
            "a": a,
            "b": b,
            "same_key": a["key"] == b["key"],
            "same_bytes": a["sha256"] == b["sha256"],
            "behind": _behind(tables.lineage, first.node, second.node),
            "steps": [step.plain() for step in steps],
            "rows": dataset_rows_between(tables, first.node, second.node),
        }
        self._print(lambda: facts, lambda: difference_tree(facts, steps))

    def verify(self, lineage: Lineage) -> int:
        """Rehash; 1 when a file is not what the records say."""
        from stillhouse.provenance.origin import identify
        from stillhouse.provenance.show_verification import verification_facts, verification_lines
        from stillhouse.provenance.verify import verify

        node = identify(lineage, self.arguments.artefact).node if self.arguments.artefact else None
        if node is None and not lineage.nodes and not lineage.broken:
            raise RecordError(f"there are no records below {self.root / 'results'}: is --directory right?")
        found = verify(lineage, node, self.ledger)
        if self.arguments.json:
            print(json.dumps(verification_facts(found), indent=2, ensure_ascii=False))
        else:
            for line in verification_lines(found):
                self.console.print(line)
        return 1 if found.faults else 0

    def call(self, prefix: str) -> int:
        """One call out of the ledger, by its digest or a beginning of it that only it has."""
        if not self.ledger.is_dir():
            raise RecordError(f"there is no ledger at {self.ledger}; `--ledger DIR` names another place")
        index = CallIndex(self.ledger, self.root)
        found = index.matching(prefix, 5)
        if not found:
            raise RecordError(f"no call in {self.ledger} begins with {prefix!r}")
        if len(found) > 1:
            raise RecordError(f"several calls in {self.ledger} begin with {prefix!r}: {', '.join(found)}")
        known = index.get(found[0])
        print(json.dumps({"digest": known.digest, **known.call, "file": known.file.name}, indent=2, ensure_ascii=False))
        return 0


def _side(origin: Any) -> dict[str, Any]:
    node, path = origin.node, origin.path
    return {"artefact": path, "job": node.job, "key": node.record["key"], "sha256": node.sha256_of(path)}


def _behind(lineage: Lineage, first: Node, second: Node) -> str | None:
    """Which of two artefacts the other was made of: a, b, or neither."""
    if first is second:
        return None
    return "a" if first in lineage.ancestry(second) else "b" if second in lineage.ancestry(first) else None


def _impact(impact: Any, tables: Any, name: str) -> tuple[str, list[Any]]:
    """(what was asked for in words, what it reached): a path that records know, then a prompt set, then a prompt."""
    from stillhouse.provenance.impact import find_set
    from stillhouse.provenance.rows import find_prompt

    lineage = tables.lineage
    path = lineage.relative(name)
    if lineage.node_of(path) or lineage.readers(path):
        return path, impact.of_path(path)
    if (lineage.root / path).exists() or path.startswith("results/"):
        node = lineage.find(name)  # a folder or a record, or it says what is wrong
        return node.job, impact.of_jobs([node])
    sets = find_set(tables, name)
    if sets:
        return f"prompt set {name}", impact.of_jobs(sets)
    prompt_id = find_prompt(tables, name)
    return f"prompt {prompt_id}", impact.of_prompt(prompt_id)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, found {text!r}")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", nargs="?", help="a file or folder below results/, or such a file found elsewhere")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--row", metavar="ID", help="a prompt id, a beginning of one, or the id of a prompt in its file")
    what.add_argument("--forward", metavar="WHAT", help="a file, a prompt set, or a prompt: show what contains it")
    what.add_argument("--diff", nargs=2, metavar=("A", "B"), help="two artefacts: show why they differ")
    what.add_argument(
        "--verify", action="store_true", help="rehash what is behind the artefact; without one, everything"
    )
    what.add_argument("--call", metavar="DIGEST", help="print one call out of the ledger; a beginning is enough")
    parser.add_argument("--in", dest="within", metavar="FILE", help="with --row: only its rows in this artefact")
    parser.add_argument("--json", action="store_true", help="the answer as JSON, nothing cut")
    parser.add_argument(
        "--calls", type=_whole, default=CALLS_SHOWN, help="digests of calls shown for a job of the tree"
    )
    parser.add_argument("--directory", default=".", help="the folder that holds results/ (default: here)")
    parser.add_argument("--ledger", default="results/ledger", help="the ledger's folder, seen from there")
    arguments = parser.parse_args()
    asked = any(one is not None for one in (arguments.row, arguments.forward, arguments.diff, arguments.call))
    if not asked and not arguments.artefact and not arguments.verify:
        parser.error("name an artefact, or say what else to show (see --help)")
    if asked and arguments.artefact:
        parser.error(f"an artefact ({arguments.artefact}) goes with no option but --verify; --row takes `--in FILE`")
    if arguments.within and arguments.row is None:
        parser.error("--in goes with --row")
    return arguments


def main() -> int:
    """Entry point; 0 when all is well, 1 when something is missing or was changed."""
    arguments = _arguments()
    for stream in (sys.stdout, sys.stderr):  # what a model wrote may be more than the terminal can spell
        stream.reconfigure(errors="backslashreplace")
    try:
        return Trace(arguments).answer()
    except StillhouseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader (`head`) has seen enough
        sys.stdout = None
        return 0


if __name__ == "__main__":
    sys.exit(main())
