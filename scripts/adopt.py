"""Takes over results that were moved without .snakemake/: `make adopt`, or

python scripts/adopt.py [--configfile STUDY] [--partly]

Every file is rehashed and compared with its record, every record with the study and the code. Where all agree,
Snakemake's memory is written anew and `snakemake -n` has nothing to do. Where they do not, nothing is taken over and the
differences are printed; with --partly the rest is taken over, and what differs will be built again.
"""

import argparse
import sys
from pathlib import Path

from stillhouse.errors import StillhouseError


def main() -> int:
    """Entry point; 0 when everything that is there was taken over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="study, when not config/config.yaml")
    parser.add_argument("--partly", action="store_true", help="take over what agrees; the rest will be built again")
    arguments = parser.parse_args()
    from stillhouse.provenance.graph import open_graph
    from stillhouse.provenance.keeping import adopt

    try:
        with open_graph(set(), arguments.configfile, force=True) as graph, graph.locked():
            outcome = adopt(graph, partly=arguments.partly)
    except StillhouseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for name, reasons in outcome.refused.items():
        print(f"refused {name}")
        for reason in reasons:
            print(f"    {reason}")
    print(f"{len(outcome.kept)} jobs taken over, {len(outcome.unbuilt)} not built yet, {len(outcome.refused)} refused")
    if outcome.refused and not arguments.partly:
        print("nothing was taken over: mend the study or the files, or take over the rest with --partly")
    return 1 if outcome.refused and not arguments.partly else 0


if __name__ == "__main__":
    sys.exit(main())
