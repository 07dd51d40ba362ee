"""The budget of a generation, kept together by all its shard jobs, whichever run at once.

One small file holds a line of fixed length for each shard: what it has spent and what it holds for calls in flight.
A job reads and changes it under a lock, so that the sum never passes the budget by more than a call's own estimate is
short. What was spent before a kill stays counted until the same calls have been replayed; what was held then is let go
when the job begins again.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import BudgetError
from stillhouse.provenance.digests import digest_text
from stillhouse.study.generations import Budget

FOLDER = Path(".stillhouse/budgets")
LINE = struct.Struct("<16s3Q3Q")
"""The part's key, what it spent, and what it holds for calls in flight."""
MICRO = 1_000_000


@dataclass(frozen=True)
class Sum:
    """Calls, tokens (prompt and answer) and millionths of a USD."""

    calls: int = 0
    tokens: int = 0
    micro_usd: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.calls + other.calls, self.tokens + other.tokens, self.micro_usd + other.micro_usd)

    def __sub__(self, other: "Sum") -> "Sum":
        return Sum(self.calls - other.calls, self.tokens - other.tokens, self.micro_usd - other.micro_usd)

    def most(self, other: "Sum") -> "Sum":
        """The larger of each."""
        return Sum(max(self.calls, other.calls), max(self.tokens, other.tokens), max(self.micro_usd, other.micro_usd))


def cost(tokens: int, usd: float | None) -> Sum:
    """One call; an unknown price counts as nothing, and planning refuses a budget in USD without prices."""
    return Sum(1, tokens, round((usd or 0.0) * MICRO))


class Purse:
    """This job's part of the budget of generation `name`, number `part` of `parts`.

    `key` says which work the part is: spending of another key is forgotten. A job answers one shard, so one process
    writes one line.
    """

    def __init__(self, budget: Budget, name: str, part: int, parts: int, key: str, folder: Path = FOLDER) -> None:
        self._budget, self._part = budget, part
        self._key = bytes.fromhex(digest_text(key)[:32])
        self._made, self._replayed, self._before, self._held = Sum(), Sum(), Sum(), Sum()
        self._handle: int | None = None
        self._bounded = any(bound is not None for bound in (budget.calls, budget.tokens, budget.usd))
        if self._bounded:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(folder / f"{name}-{parts}", os.O_RDWR | os.O_CREAT, 0o644)
            with self._locked():
                _, self._before = self._lines()
                self._write()

    @contextmanager
    def hold(self, most: Sum) -> Iterator[None]:
        """Keep room for one call of at most `most` while it is in flight; raises `BudgetError` when there is none."""
        if not self._bounded:
            yield
            return
        with self._locked():
            self._check(most)
            self._held += most
            self._write()
        try:
            yield
        finally:
            with self._locked():
                self._held -= most
                self._write()

    @property
    def _spent(self) -> Sum:
        """What this part has spent: replayed calls are those of before, until there are more of them."""
        return self._before.most(self._replayed) + self._made

    def spend(self, sum_: Sum, *, replayed: bool) -> None:
        """Count one call that was made or replayed; a replay is paid for, so it never stops here."""
        if replayed:
            self._replayed += sum_
        else:
            self._made += sum_
        if self._bounded:
            with self._locked():
                self._write()

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _check(self, most: Sum) -> None:
        others, _ = self._lines()
        now = others + self._spent + self._held
        then = now + most
        for word, bound, reached, have, unit in (
            ("calls", self._budget.calls, then.calls, now.calls, 1),
            ("tokens", self._budget.tokens, then.tokens, now.tokens, 1),
            ("usd", self._budget.usd, then.micro_usd, now.micro_usd, MICRO),
        ):
            if bound is not None and reached > bound * unit:
                raise BudgetError(
                    f"budget.{word} of {bound:g} would be passed ({have / unit:g} spent or in flight, the next call may "
                    f"take {(reached - have) / unit:g}); raise it to go on: what was answered is in the ledger"
                )

    def _lines(self) -> tuple[Sum, Sum]:
        """What the other parts have spent or hold, and what this part had when it was last at the same work."""
        data = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        others, own = Sum(), Sum()
        for number in range(len(data) // LINE.size):
            key, *numbers = LINE.unpack_from(data, number * LINE.size)
            if number != self._part:
                others += Sum(*numbers[:3]) + Sum(*numbers[3:])
            elif key == self._key:
                own = Sum(*numbers[:3])
        return others, own

    def _write(self) -> None:
        spent = self._spent
        sums = (spent.calls, spent.tokens, spent.micro_usd, self._held.calls, self._held.tokens, self._held.micro_usd)
        line = LINE.pack(self._key, *sums)
        os.pwrite(self._handle, line, self._part * LINE.size)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN)
