"""Progress that suits where it is shown: a rich bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOG_EVERY_S = 15.0


class Meter:
    """Counts finished steps: `advance()` for each; shows a bar or logs a line."""

    def __init__(self, description: str, total: int | None = None) -> None:
        self.description, self.total, self.done = description, total, 0
        self._logged = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> "Meter":
        if sys.stderr.isatty():
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        logger.info("%s: %d done", self.description, self.done)

    def advance(self, note: str = "") -> None:
        """One more step is done; `note` (tokens, cost ...) is shown beside it."""
        self.done += 1
        if self._bar:
            self._bar.update(self._task, advance=1, description=f"{self.description} {note}".rstrip())
        elif time.monotonic() - self._logged > LOG_EVERY_S:
            self._logged = time.monotonic()
            logger.info("%s: %d of %s %s", self.description, self.done, self.total or "?", note)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing progress under `description`."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with Meter(description, total) as meter:
        for item in items:
            yield item
            meter.advance()
