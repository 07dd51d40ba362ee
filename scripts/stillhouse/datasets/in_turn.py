"""Work in several threads whose results come in the order of the work, a few of them ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 1
"""Items that wait for a thread, so that none of them has to wait for whoever gives them."""


def in_turn(work: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Iterator[tuple[Item, Made]]:
    """Every item with what `work` makes of it, in order. At most `threads` + `AHEAD` + 1 items are held at once."""
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            while len(waiting) > threads + AHEAD:
                ready, made = waiting.popleft()
                yield ready, made.result()
        while waiting:
            ready, made = waiting.popleft()
            yield ready, made.result()
