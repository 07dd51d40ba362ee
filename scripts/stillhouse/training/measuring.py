"""What a training measures: a validation loss that no batch size changes, and nothing that is not finite."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from transformers import Trainer

from stillhouse.errors import TrainingError
from stillhouse.training.tokens import IGNORED

WATCHED = ("loss", "eval_loss", "grad_norm")
SMALLEST_SCALE = 2.0**-14
"""fp16 gradients that overflow even at this scale of the loss are no accident of its first steps."""

Parts = dict[str, tuple[float, int]]
"""Parts of a batch's loss by name: a mean in nats, and how many tokens or pairs it is the mean of."""


class Measuring(Trainer):
    """Mixed into each of TRL's trainers: its validation loss, and the end of a training that diverges."""

    _sums: dict[str, tuple[float, int]]

    def loss_parts(self, inputs: Mapping[str, Any], loss: torch.Tensor) -> Parts:
        """The parts of a batch's validation loss: over supervised tokens, or over pairs where rows are pairs."""
        if "labels" in inputs:
            return {"loss": (loss.item(), int((inputs["labels"][:, 1:] != IGNORED).sum()))}
        rows = next(value for name, value in inputs.items() if name.endswith("input_ids"))
        return {"loss": (loss.item(), len(rows))}

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """As the trainer does, adding up the parts of the loss."""
        found = super().prediction_step(model, inputs, *args, **kwargs)
        for name, (mean, weight) in self.loss_parts(inputs, found[0]).items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + mean * weight, count + weight
        return found

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As the trainer does; the loss is that of the whole split and not a mean of means of batches."""
        self._sums = {}
        output = super().evaluation_loop(*args, **kwargs)
        output.metrics["eval_loss"] = sum(total / max(count, 1) for total, count in self._sums.values())
        return output

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As the trainer does. Raises `TrainingError` for a loss or a gradient that is not finite.

        A step that fp16's scaling left out has a gradient that overflowed, which is what it is there for: the step
        has no `grad_norm` in the log.
        """
        if "grad_norm" in logs and self.accelerator.optimizer_step_was_skipped:
            self._check_scale()
            del logs["grad_norm"]
        for name in WATCHED:
            if name in logs and not math.isfinite(logs[name]):
                raise TrainingError(diverged(self.state.global_step, f"{name} is {logs[name]}"))
        super().log(logs, *args, **kwargs)

    def _check_scale(self) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and scaler.get_scale() < SMALLEST_SCALE:
            raise TrainingError(diverged(self.state.global_step, "gradients overflow fp16 at any scale"))


def diverged(step: int, what: str) -> str:
    """The words for a training whose numbers are finite no more at `step`."""
    return (
        f"step {step}: {what}: the training diverged, and no adapter is written. Lower training.learning_rate, raise "
        "training.warmup, or look at training.precision"
    )


def check_finite(weights: Iterable[tuple[str, torch.Tensor]], step: int) -> None:
    """Raise `TrainingError` that names `step` where one of the `weights` is infinite or not a number."""
    for name, value in weights:
        if not torch.isfinite(value).all():
            raise TrainingError(diverged(step, f"the weights of {name} are not finite"))
