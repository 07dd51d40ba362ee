"""Why would this be built again? Compares records with the plan; nothing runs and nothing is changed.

python scripts/why.py results/exports/mixed/mixed-Q4_K_M.gguf [--configfile STUDY]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError, StillhouseError


def main() -> int:
    """Entry point; 0 whether or not anything would run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="an artefact or a target rule; default: all")
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="study, when not config/config.yaml")
    arguments = parser.parse_args()
    from stillhouse.provenance.graph import open_graph

    try:
        with open_graph(set(arguments.targets), arguments.configfile) as graph:
            waiting = [job for job in graph.jobs if graph.needs_run(job)]
            for job in waiting:
                _explain(job, graph.reason(job), {str(path) for other in waiting for path in other.output})
            print(f"{len(waiting)} of {len(graph.jobs)} jobs would be run")
    except StillhouseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _explain(job: Any, reason: str, waiting: set[str]) -> None:
    """One job: what differs from its record, and which of its inputs are to be built first."""
    from stillhouse.provenance.changes import changes, record_of

    print(f"{job.output[0]} ({job.rule.name})")
    try:
        record = record_of(job)
    except RecordError as error:
        print(f"    {error}")
        return
    found = changes(job, record) if record else []
    if record is None:
        print("    not built yet")
    for change in found:
        print(f"    {change}")
    above = [str(path) for path in job.input if str(path) in waiting]
    for path in above:
        print(f"    after {path}")
    if record and not found and not above:
        print(f"    {reason}")


if __name__ == "__main__":
    sys.exit(main())
