"""Lists, shows, checks, compacts and exports the calls of a ledger.

python scripts/ledger.py list [--model NAME] [--since DATE] [--writer RULE]    a table by model; --calls: a line a call
python scripts/ledger.py show DIGEST                     the whole of one call; a beginning of its digest is enough
python scripts/ledger.py verify                          every line of every file
python scripts/ledger.py compact [--dry-run]             one sound file for each job that made calls
python scripts/ledger.py export FILE.parquet|FILE.jsonl  calls as a table, with the filters of `list`
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from stillhouse.errors import LedgerError, StillhouseError
from stillhouse.provenance.ledger_calls import Answered, Summary, Wanted, answered, parse_since

PIPED_WIDTH = 4000
"""Columns when nobody looks: no line is broken, as digests are meant to be copied."""
MATCHES = 20


class Screen(Console):
    """Standard output; a reader that is gone is an exception for `main`, where the library would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Raise what rich caught."""
        raise BrokenPipeError


class Tool:
    """One command to one ledger."""

    def __init__(self, arguments: argparse.Namespace, ledger: Path) -> None:
        self.arguments, self.ledger = arguments, ledger
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        self.console = Screen(width=width, soft_wrap=True, highlight=False)

    def answer(self) -> int:
        """Do what the command line asks; returns the exit status, raises `StillhouseError`."""
        return getattr(self, self.arguments.command)()

    def _print(self, text: Text) -> None:
        """Print a line; rich takes a third of a millisecond for one, which counts where nobody looks."""
        if sys.stdout.isatty():
            self.console.print(text)
        else:
            print(text.plain)

    def _lines(self, *, requests: bool) -> Iterator[Answered]:
        asked = self.arguments
        since = parse_since(asked.since) if asked.since else None
        return answered(self.ledger, Path(), Wanted(asked.model, asked.writer, since), requests=requests)

    def list(self) -> int:
        """A table by model, or a line a call."""
        from stillhouse.provenance.show_ledger import call_line, summary_lines, summary_table

        lines = self._lines(requests=False)
        if self.arguments.calls:
            for one in lines:
                if one.counts and self.arguments.json:
                    print(json.dumps({"digest": one.digest, "writer": one.writer, **one.call}))
                elif one.counts:
                    self._print(call_line(one))
            return 0
        summary = Summary()
        for one in lines:
            summary.add(one)
        if self.arguments.json:
            print(json.dumps(summary.plain(), indent=2))
            return 0
        self.console.print(summary_table(summary))
        for line in summary_lines(summary):
            self._print(line)
        return 0

    def show(self) -> int:
        """One call; 1 when the digest's beginning is that of several, or of none."""
        from stillhouse.provenance.calls import CallIndex
        from stillhouse.provenance.ledger_check import ledger_files
        from stillhouse.provenance.show_ledger import call_lines, match_line

        ledger_files(self.ledger)  # says when there is none
        index, prefix = CallIndex(self.ledger, Path()), self.arguments.digest
        found = [index.get(digest) for digest in index.matching(prefix, MATCHES)]
        if not found:
            raise LedgerError(f"no call in {self.ledger} begins with {prefix!r}")
        if len(found) > 1:
            print(f"several calls begin with {prefix!r}:", file=sys.stderr)
            for one in found:
                self._print(match_line(one))
            return 1
        if self.arguments.json:
            print(json.dumps({"digest": found[0].digest, "file": found[0].file.name, **found[0].call}, indent=2))
            return 0
        for line in call_lines(found[0]):
            self._print(line)
        return 0

    def verify(self) -> int:
        """Check everything; 1 when a line was changed or cannot be read."""
        from stillhouse.provenance.ledger_check import check_ledger
        from stillhouse.provenance.show_ledger import check_lines

        found = check_ledger(self.ledger)
        if self.arguments.json:
            print(json.dumps({"sound": not found.faults, **asdict(found)}, indent=2))
        else:
            for line in check_lines(found):
                self._print(line)
        return 1 if found.faults else 0

    def compact(self) -> int:
        """Merge files, while no run is going on."""
        from stillhouse.provenance.ledger_compact import Compactor
        from stillhouse.provenance.owner import lock_held
        from stillhouse.provenance.show_ledger import compaction_lines

        if lock_held():
            raise LedgerError("a run is going on here, or left its lock (`make resume` ends it): nothing was compacted")
        dry = self.arguments.dry_run
        for line in compaction_lines(Compactor(self.ledger).run(dry=dry), dry=dry):
            self._print(line)
        return 0

    def export(self) -> int:
        """Write a table."""
        from stillhouse.provenance.ledger_export import export_calls

        count = export_calls(self._lines(requests=True), Path(self.arguments.file))
        print(f"{count} calls written to {self.arguments.file}")
        return 0


def _ledger(arguments: argparse.Namespace) -> Path:
    """The folder that is meant: named, or that of a study, or the default."""
    if arguments.ledger or not arguments.configfile:
        return Path(arguments.ledger or "results/ledger")
    from stillhouse.llm.operations import ledger_folder

    try:
        config = yaml.safe_load(Path(arguments.configfile).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LedgerError(f"{arguments.configfile}: {error}") from None
    if not isinstance(config, dict):
        raise LedgerError(f"{arguments.configfile}: a study is expected, keys with values")
    return Path(str(ledger_folder(config)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument("--ledger", metavar="FOLDER", help="the ledger's folder (default: results/ledger)")
    everywhere.add_argument("--configfile", help="the study that names the ledger")
    everywhere.add_argument("--directory", default=".", help="the folder that holds results/ (default: here)")
    filters = argparse.ArgumentParser(add_help=False)
    filters.add_argument("--model", metavar="NAME", help="only calls to this model of the study, or pattern of models")
    filters.add_argument("--since", metavar="DATE", help="only calls from this time on, UTC: 2026-01-31[T12:00]")
    filters.add_argument(
        "--writer", metavar="RULE", help="only calls that jobs of this rule made, or a pattern of jobs"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", parents=[everywhere, filters], help="a table by model, or a line a call")
    listing.add_argument("--calls", action="store_true", help="a line a call, in the order of the files")
    show = commands.add_parser("show", parents=[everywhere], help="the whole of one call")
    show.add_argument("digest", help="a digest or a beginning of one")
    verify = commands.add_parser("verify", parents=[everywhere], help="check every line")
    for command in (listing, show, verify):
        command.add_argument("--json", action="store_true", help="as JSON, nothing cut")
    compact = commands.add_parser("compact", parents=[everywhere], help="merge files")
    compact.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    export = commands.add_parser("export", parents=[everywhere, filters], help="write a table")
    export.add_argument("file", help="its suffix says how: .parquet or .jsonl")
    return parser.parse_args()


def main() -> int:
    """Entry point; 0 when all is well, 1 when something is missing or was changed."""
    arguments = _arguments()
    for stream in (sys.stdout, sys.stderr):  # what a model wrote may be more than the terminal can spell
        stream.reconfigure(errors="backslashreplace")
    try:
        ledger = _ledger(arguments)
        if arguments.command == "export":
            arguments.file = os.path.abspath(arguments.file)
        os.chdir(arguments.directory)
        return Tool(arguments, ledger).answer()
    except StillhouseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader (`head`) has seen enough
        sys.stdout = None
        return 0


if __name__ == "__main__":
    sys.exit(main())
