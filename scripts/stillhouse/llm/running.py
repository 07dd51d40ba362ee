"""Runs many prompts beside each other on one event loop: slots by priority, results in order, a stop that loses nothing."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from stillhouse.errors import StopError
from stillhouse.provenance.progress import Meter

T = TypeVar("T")

AHEAD = 4
"""Results that may wait for an earlier one before nothing new is begun, as a multiple of what runs beside each other."""

BESIDE = 256
"""Coroutines at work at once where nobody says: more than a model has slots."""

TICK_S = 1.0

_runner: asyncio.Runner | None = None


class Slots:
    """At most `size` holders at once. Who waits is served by priority (lower first), then in order of arrival."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()

    @asynccontextmanager
    async def hold(self, priority: int = 0) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the block."""
        await self._take(priority)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot came, but nobody is left to use it
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on the one event loop of this process: connections and locks outlive a single batch of calls."""
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
    return _runner.run(coroutine)


def gather(
    coroutines: Iterable[Coroutine[Any, Any, T]],
    limit: int = BESIDE,
    description: str = "calls",
    total: int | None = None,
) -> list[T]:
    """Run `coroutines`, at most `limit` beside each other; results in their order. Errors as `feed` raises them."""
    results: list[T] = []
    feed(coroutines, results.append, limit, description, total)
    return results


def feed(
    coroutines: Iterable[Coroutine[Any, Any, T]],
    sink: Callable[[T], object],
    limit: int,
    description: str,
    total: int | None = None,
    note: Callable[[], str] = str,
) -> None:
    """Run `coroutines`, at most `limit` beside each other, and give each result to `sink` in their order, early.

    Few results are held back: none is begun that is more than `AHEAD` times `limit` before the first unfinished one.
    The first error cancels the rest and is raised, but a `StopError` lets what is in flight end first, since it was
    paid for. `note` is shown beside the progress.
    """
    run_async(_Feed(iter(coroutines), sink, limit).run(Meter(description, total, note)))


class _Feed:
    """One run of `feed`."""

    def __init__(self, coroutines: Iterator[Coroutine[Any, Any, T]], sink: Callable[[T], object], limit: int) -> None:
        self._items, self._sink, self._limit = enumerate(coroutines), sink, limit
        self._room = asyncio.Semaphore(limit * AHEAD)
        self._early: dict[int, T] = {}
        self._next = 0
        self._stop: StopError | None = None

    async def run(self, meter: Meter) -> None:
        with meter:
            ticking = asyncio.create_task(_tick(meter))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._limit):
                        group.create_task(self._work(meter))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            finally:
                ticking.cancel()
                for _, unstarted in self._items:
                    unstarted.close()
        if self._stop:
            raise self._stop

    async def _work(self, meter: Meter) -> None:
        while True:
            await self._room.acquire()
            if self._stop or (item := next(self._items, None)) is None:
                self._room.release()  # for the next worker, who finds the same
                return
            try:
                self._deliver(item[0], await item[1])
                meter.advance()
            except StopError as error:
                self._stop = self._stop or error
                self._room.release()

    def _deliver(self, number: int, result: T) -> None:
        self._early[number] = result
        while self._next in self._early:
            self._sink(self._early.pop(self._next))
            self._next += 1
            self._room.release()


async def _tick(meter: Meter) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        meter.tick()
