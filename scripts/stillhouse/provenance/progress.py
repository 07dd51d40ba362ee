"""Progress that suits where it is shown: a rich bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOG_EVERY_S = 15.0
SHOW_EVERY_S = 0.2


class Meter:
    """Counts finished steps: `advance()` for each; shows a bar or logs a line.

    `note` gives words to show beside the count (tokens, cost ...); `tick()` shows them again although no step ended.
    """

    def __init__(self, description: str, total: int | None = None, note: Callable[[], str] = str) -> None:
        self.description, self.total, self.done = description, total, 0
        self._note = note
        self._logged = self._shown = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> "Meter":
        if sys.stderr.isatty():
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            console = Console(stderr=True)
            self._bar = Progress(
                *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True
            )
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        logger.info("%s: %d done %s", self.description, self.done, self._note())

    def advance(self) -> None:
        """One more step is done."""
        self.done += 1
        self.tick()

    def tick(self) -> None:
        """Show where things stand, unless that was shown a moment ago."""
        now = time.monotonic()
        if self._bar and (now - self._shown > SHOW_EVERY_S or self.done == self.total):
            self._shown = now
            self._bar.update(self._task, completed=self.done, note=self._note())
        elif not self._bar and now - self._logged > LOG_EVERY_S:
            self._logged = now
            logger.info("%s: %d of %s %s", self.description, self.done, self.total or "?", self._note())


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing progress under `description`."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with Meter(description, total) as meter:
        for item in items:
            yield item
            meter.advance()
