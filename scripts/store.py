"""Shows and empties the store of finished artefacts (results/.store).

python scripts/store.py              list entries; `frees` is what removing one gives back: files that no artefact shares
python scripts/store.py --prune      remove every entry that no record below results/ names: those of earlier recipes
python scripts/store.py --empty      remove all; costs the chance to reuse, nothing else
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stillhouse.provenance import store
from stillhouse.provenance.lineage import Lineage

MIB = 2**20


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--prune", action="store_true", help="remove entries that no record names")
    group.add_argument("--empty", action="store_true", help="remove all entries")
    arguments = parser.parse_args()
    entries = store.entries()
    if arguments.prune or arguments.empty:
        current = set() if arguments.empty else _current_keys()
        gone = [entry for entry in entries if entry.key not in current]
        for entry in gone:
            store.remove(entry.key)
        print(f"{len(gone)} of {len(entries)} entries removed, {sum(e.freed for e in gone) / MIB:.1f} MiB given back")
        return 0
    _show(entries)
    return 0


def _current_keys() -> set[str]:
    return {node.record["key"] for node in Lineage(Path(".")).nodes}


def _show(entries: list[store.Entry]) -> None:
    table = Table("key", "rule", "MiB", "frees MiB", "finished", box=None)
    for entry in entries:
        sizes = (f"{entry.size / MIB:.1f}", f"{entry.freed / MIB:.1f}")
        table.add_row(entry.key[:16], entry.rule, *sizes, entry.finished)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    freed, size = sum(entry.freed for entry in entries), sum(entry.size for entry in entries)
    console.print(
        f"{len(entries)} entries, {size / MIB:.1f} MiB, of which {freed / MIB:.1f} MiB shared with no artefact"
    )


if __name__ == "__main__":
    sys.exit(main())
