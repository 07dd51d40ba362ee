"""The records of one study, without what earlier studies left behind in results/."""

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.lineage import Lineage, Node

NEEDED = {
    "recipe": dict, "code": dict, "software": dict, "facts": dict, "reused": bool, "study": dict, "run": dict
}  # fmt: skip
"""What every record holds besides what its place in the lineage needs."""
COUNTED = ("calls_made", "calls_replayed", "calls_without_price", "prompt_tokens", "completion_tokens", "usd")
"""What is told of the calls of a job."""


def study_nodes(root: Path, records: Iterable[Path]) -> list[Node]:
    """The jobs whose records are `records` (paths below `root`), every job after those that it read from.

    Raises `RecordError` when there are none, or when one of them cannot be trusted.
    """
    wanted = dict.fromkeys(Path(record) for record in records)
    if not wanted:
        raise RecordError("the study names nothing to build, so there is no provenance to write")
    lineage = Lineage(root)
    found = {node.file: node for node in lineage.nodes if node.file in wanted}
    broken = {Path(record.path): record.reason for record in lineage.broken}
    for file in wanted:
        reason = broken.get(file, "there is no such record") if file not in found else _fault(found[file])
        if reason:
            raise RecordError(f"{root / file}: {reason}; build it again")
    chosen = set(found.values())
    before = {found[file]: [node for node in lineage.parents(found[file]) if node in chosen] for file in wanted}
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        names = ", ".join(dict.fromkeys(node.file.as_posix() for node in error.args[1]))
        raise RecordError(f"records name one another in a circle: {names}; build them again") from None


def usage_of(node: Node) -> dict[str, Any] | None:
    """Calls, tokens and cost of a job, under the names in `COUNTED`; None for a job that asks no model."""
    return node.usage and {name: node.usage.get(name) for name in COUNTED}


def _fault(node: Node) -> str | None:
    """What a record lacks that the lineage itself can do without."""
    lacking = [name for name, kind in NEEDED.items() if not isinstance(node.record.get(name), kind)]
    return f"it lacks {', '.join(lacking)}" if lacking else None
