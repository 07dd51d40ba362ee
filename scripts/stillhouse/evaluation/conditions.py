"""The conditions that the report knows by name, and who is compared with whom because of them."""

from collections.abc import Mapping, Sequence
from typing import Any

STUDENT, GOLD, ABLATION, VANILLA = "student", "gold", "ablation", "vanilla"
TARGET, FORGETTING = "target", "forgetting"
KINDS = {ABLATION: "adapter signal", VANILLA: "over vanilla", GOLD: "to gold"}
"""What a difference to a baseline of this condition is called."""

Row = dict[str, Any]


def condition_of(subject: str, rows: Sequence[Row], described: Mapping[str, Any]) -> str:
    """The condition that a subject's rows carry, else the one that the study gives it, else its own name."""
    carried = next((row["condition"] for row in rows if row.get("condition")), None)
    return carried or described.get("condition") or subject


def comparisons(order: Sequence[str], conditions: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(candidate, baseline, kind) of all differences that a report shows, in the study's order.

    Every subject that is no baseline itself against each ablation and each vanilla; students against gold too.
    """
    candidates = [name for name in order if conditions[name] not in KINDS]
    return [
        (candidate, baseline, kind)
        for condition, kind in KINDS.items()
        for candidate in candidates
        if condition != GOLD or conditions[candidate] == STUDENT
        for baseline in order
        if conditions[baseline] == condition
    ]
