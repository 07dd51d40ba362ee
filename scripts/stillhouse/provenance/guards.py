"""Bounds of one run: how many paid calls it may start, and how long a training it may go on with.

All jobs of a run share one counter: a file that grows by one byte for each paid call. Appending is atomic on a local
file system; on a network file system two jobs may count a call once.
"""

import os
from pathlib import Path
from typing import Any

from stillhouse.errors import BudgetError

ALLOW = "STILLHOUSE_ALLOW"
COUNTER = Path(".stillhouse/paid-calls")
WORDS = {"max_paid_calls": "calls", "max_training_minutes": "training"}


def guards_of(config: dict[str, Any]) -> dict[str, float]:
    """The guards that the study sets and that the command line does not lift, by key."""
    allowed = set(os.environ.get(ALLOW, "").replace(" ", "").split(","))
    guards = config.get("guards") or {}
    return {key: bound for key, bound in guards.items() if bound is not None and WORDS.get(key) not in allowed}


def begin_counting() -> None:
    """Start a run's count at nothing."""
    COUNTER.parent.mkdir(exist_ok=True)
    COUNTER.write_bytes(b"")


class PaidCalls:
    """Counts the paid calls of a run, over all its jobs; `most` is the bound, None without one."""

    def __init__(self, most: int | None) -> None:
        self._most = most

    def start(self, name: str) -> None:
        """Count one call to model `name`; raises `BudgetError` when the run has started as many as it may."""
        if self._most is None:
            return
        COUNTER.parent.mkdir(exist_ok=True)
        handle = os.open(COUNTER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, b".")
            count = os.fstat(handle).st_size
        finally:
            os.close(handle)
        if count > self._most:
            raise BudgetError(
                f"guards.max_paid_calls: this run has started {self._most} paid calls and {name} needs more. What was "
                f"answered is in the ledger. `python scripts/why.py` tells why jobs run; {ALLOW}=calls lets them"
            )
