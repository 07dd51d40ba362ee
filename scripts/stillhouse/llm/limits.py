"""A job's part of a model's limits: the pace of requests and tokens, and the requests of the day.

The parts come from Snakemake (`study.shares`): a job that holds k of n slots has k/n of every limit.
"""

import asyncio
import datetime
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import LimitError
from stillhouse.study.models import Limits

FOLDER = Path(".stillhouse/requests")
MARGIN = 1.02
"""Starts are this much further apart than the limit asks, so that no minute holds one too many at its edges."""
CREDIT_STEP_S = 0.1


@dataclass(frozen=True)
class Quota:
    """What one job may do: requests in flight, requests and tokens a minute (None: no limit)."""

    concurrency: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


def quota(limits: Limits, slots: int | None = None) -> Quota:
    """The part of `limits` that comes with `slots` of the model's slots; all of it when None."""
    held = limits.concurrency if slots is None else max(1, min(slots, limits.concurrency))
    share = held / limits.concurrency
    return Quota(
        held,
        limits.requests_per_minute * share if limits.requests_per_minute else None,
        limits.tokens_per_minute * share if limits.tokens_per_minute else None,
    )


@dataclass
class Start:
    """When a request went out, the tokens that it counts, and whether that is less than a minute ago."""

    at: float
    tokens: int
    recent: bool = False


class Pace:
    """Says when the next request may start.

    Starts are evenly spaced: each comes no earlier after the one before it than its own cost in time, so the first one
    of a job that follows a killed one waits too, and any minute stays within the limit. Tokens vary, so those of the
    last minute are added up besides.
    """

    def __init__(
        self,
        quota: Quota,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._interval_s = 60.0 * MARGIN / quota.requests_per_minute if quota.requests_per_minute else 0.0
        self._tokens = quota.tokens_per_minute
        self._started = self._paid = self._clock()
        self._minute: deque[Start] = deque()
        self._in_minute = 0
        self._held_until = 0.0
        self._turn = asyncio.Lock()

    async def start(self, tokens: int) -> Start:
        """Wait until a request of so many tokens (prompt and longest answer) may start, in order of arrival."""
        if not (self._interval_s or self._tokens or self._turn.locked()) and self._clock() >= self._held_until:
            return Start(0.0, tokens)
        async with self._turn:
            while (wait := self._earliest(tokens) - self._clock()) > 0:
                # tokens that were reserved and not used come back meanwhile
                await self._sleep(min(wait, CREDIT_STEP_S) if self._tokens else wait)
            start = Start(self._clock(), tokens)
            self._started = start.at
            self._paid = max(start.at, self._paid + self._seconds(tokens))
            if self._tokens:
                start.recent = True
                self._minute.append(start)
                self._in_minute += tokens
            return start

    def settle(self, start: Start, used: int) -> None:
        """Count what a request used instead of what it reserved."""
        self._paid -= self._seconds(start.tokens) - self._seconds(used)
        self._in_minute += (used - start.tokens) * start.recent
        start.tokens = used

    def hold(self, seconds: float) -> None:
        """Start nothing for so long: the server asked for it."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def _earliest(self, tokens: int) -> float:
        earliest = max(self._held_until, self._started + self._interval_s if self._interval_s else 0.0)
        if not self._tokens:
            return earliest
        while self._minute and self._minute[0].at < self._clock() - 60.0 * MARGIN:
            old = self._minute.popleft()
            old.recent, self._in_minute = False, self._in_minute - old.tokens
        full = self._minute and self._in_minute + tokens > self._tokens
        emptier = self._minute[0].at + 60.0 * MARGIN + CREDIT_STEP_S if full else 0.0
        return max(earliest, emptier, self._paid + self._seconds(tokens))

    def _seconds(self, tokens: int) -> float:
        """What so many tokens cost in time; a minute has room for one request more than its evenly spaced ones."""
        return tokens * 60.0 * MARGIN / max(self._tokens - tokens, self._tokens / 2) if self._tokens else 0.0


class RequestsToday:
    """Counts the requests to model `name` of a day (UTC), all jobs of all runs together.

    One file a day and machine grows by a byte for each request: appending is atomic and survives a kill. On a network
    file system the files of other machines can be seen a little late.
    """

    def __init__(
        self, name: str, most: int | None, folder: Path = FOLDER, clock: Callable[[], float] = time.time
    ) -> None:
        self._name, self._most, self._clock = name, most, clock
        self._folder = folder / name
        self._own = f".{socket.gethostname()}"

    def count(self) -> None:
        """Count one request; raises `LimitError` when the day's are used up, and the request must not be made."""
        if self._most is None:
            return
        day = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).date()
        own = self._folder / f"{day.isoformat()}{self._own}"
        if not own.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget(day)
        if self._total(day) >= self._most:
            raise self._used_up(day)
        handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, b".")
        finally:
            os.close(handle)
        if self._total(day) > self._most:
            raise self._used_up(day)

    def _total(self, day: datetime.date) -> int:
        """Requests of the day, over all machines."""
        with os.scandir(self._folder) as found:
            return sum(_size(entry.path) for entry in found if entry.name.startswith(f"{day.isoformat()}."))

    def _forget(self, day: datetime.date) -> None:
        """Remove the files of days before yesterday; on a machine whose clock is late it is still yesterday."""
        kept = {day.isoformat(), (day - datetime.timedelta(days=1)).isoformat()}
        for file in self._folder.iterdir():
            if file.name.split(".", 1)[0] not in kept:
                file.unlink(missing_ok=True)

    def _used_up(self, day: datetime.date) -> LimitError:
        midnight = datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
        minutes = max(1, round((midnight.timestamp() - self._clock()) / 60))
        return LimitError(
            f"models.{self._name}: its {self._most} requests_per_day are used up. The same command goes on from "
            f"{midnight:%Y-%m-%d %H:%M} UTC, in {minutes // 60} h {minutes % 60} min"
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:  # an old day's, removed by another job
        return 0
