"""What watches a training: its bound, its progress, and when it has stopped learning."""

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

from transformers import TrainerCallback

from stillhouse.errors import TrainingError
from stillhouse.provenance.progress import Meter

logger = logging.getLogger(__name__)


class Ceiling(TrainerCallback):
    """Stops a training after its first steps when all of them would take longer than `max_minutes`."""

    def __init__(self, max_minutes: float) -> None:
        self._max_minutes = max_minutes
        self._first: tuple[int, float] | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The first step warms up and does not count; a tenth of the steps is enough to tell."""
        step = state.global_step
        if self._first is None:
            self._first = step, time.monotonic()
        elif step - self._first[0] < max(3, state.max_steps // 10):
            minutes = (time.monotonic() - self._first[1]) / (step - self._first[0]) * state.max_steps / 60
            if minutes > self._max_minutes:
                raise TrainingError(
                    f"guards.max_training_minutes: {state.max_steps} steps would take about {minutes:.1f} minutes, "
                    f"more than {self._max_minutes:g}. STILLHOUSE_ALLOW=training lets it; `python scripts/why.py` "
                    "tells why it runs"
                )


class Patience(TrainerCallback):
    """Early stopping. It holds no state: everything that it goes by is in the trainer's log, so it survives a kill."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self._patience, self._min_delta = patience, min_delta

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when the validation loss has not fallen for long enough."""
        losses = [row["eval_loss"] for row in state.log_history if "eval_loss" in row]
        if measurements_without_gain(losses, self._min_delta) >= self._patience:
            logger.info("stopped early: the validation loss has not fallen in %d measurements", self._patience)
            control.should_training_stop = True


def measurements_without_gain(losses: Iterable[float], min_delta: float) -> int:
    """How many of the last `losses` did not fall below the lowest before them by more than `min_delta` nats."""
    lowest, count = math.inf, 0
    for loss in losses:
        gained = loss < lowest - min_delta
        lowest, count = (loss, 0) if gained else (lowest, count + 1)
    return count


class Progress(TrainerCallback):
    """Shows steps and losses as the rest of the pipeline shows its work."""

    def __init__(self, objective: str) -> None:
        self._objective = objective
        self._note = ""
        self._meter: Meter | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The number of steps is known now."""
        self._meter = Meter(f"training ({self._objective})", state.max_steps, lambda: self._note)
        self._meter.done = state.global_step
        self._meter.__enter__()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Keep the last losses to show."""
        values = {k: v for k, v in (logs or {}).items() if k in ("loss", "eval_loss")}
        if values:
            self._note = ", ".join(f"{key} {float(value):.3f}" for key, value in values.items())
            logger.info("step %d: %s", state.global_step, self._note)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One optimiser step more."""
        if self._meter:
            self._meter.advance()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the bar."""
        if self._meter:
            self._meter.__exit__()
