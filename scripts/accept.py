"""Keeps artefacts after a pure refactoring, without running their rules.

python scripts/accept.py TARGET ... [--reason TEXT] [--configfile STUDY]

TARGET is an artefact or a target rule such as `all`; it and everything that it was made from are looked at. Only a
changed code digest is accepted: with any other difference (input, recipe, software, artefact) nothing is. The record keeps
both digests, so that `trace.py` tells of it ever after.
"""

import argparse
import sys
from pathlib import Path

from stillhouse.errors import StillhouseError


def main() -> int:
    """Entry point; 0 when every target is current now."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="an artefact, or a target rule")
    parser.add_argument("--reason", default="", help="why the artefact may be kept, for the record")
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="study, when not config/config.yaml")
    arguments = parser.parse_args()
    from stillhouse.provenance.graph import open_graph
    from stillhouse.provenance.keeping import accept

    try:
        with open_graph(set(arguments.targets), arguments.configfile, force=True) as graph, graph.locked():
            outcome = accept(graph, arguments.reason)
    except StillhouseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for name, reasons in outcome.refused.items():
        print(f"refused {name}: more than code differs")
        for reason in reasons:
            print(f"    {reason}")
    for name in outcome.kept:
        print(f"accepted {name}")
    print(f"{len(outcome.kept)} jobs accepted, {len(outcome.unbuilt)} not built yet, {len(outcome.refused)} refused")
    return 1 if outcome.refused else 0


if __name__ == "__main__":
    sys.exit(main())
