"""Trainers that write checkpoints of our own form, stop in time when they are told to, and go on where they were."""

import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState

from stillhouse.errors import TrainingError
from stillhouse.training.checkpoints import Checkpoint, Checkpoints, Tensors
from stillhouse.training.measuring import Measuring, check_finite
from stillhouse.training.sampling import EpochSampler
from stillhouse.training.state import optimizer_state, random_state, restore_optimizer_state, restore_random_state

logger = logging.getLogger(__name__)


class Resuming(Measuring):
    """Mixed into each of TRL's trainers: order of samples, checkpoints, best weights, and tokens seen.

    Between two steps, and while gradients of the next one are still being gathered, weights and optimiser are those of
    the last finished step: its checkpoint can be written at any such moment. `_settled` holds what else belongs to it.
    """

    lengths: list[int]
    grouped: bool = False
    checkpoints: Checkpoints | None = None
    checkpoint_seconds: float = 600.0
    resumed_from: int | None = None
    keep_best: bool = False
    best: tuple[int, float, Tensors] | None = None
    tokens_seen: Any = 0
    _settled: dict[str, Any] | None = None
    _found: Checkpoint | None = None
    _told_to_stop = False
    _written_at = 0.0

    # the order of samples

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        batch = self.args.per_device_train_batch_size
        return EpochSampler(self.lengths, batch, self.args.seed, self.grouped)

    # going on

    def train_from(self, checkpoint: tuple[Path, Checkpoint] | None) -> None:
        """Train to the end, from `checkpoint` where there is one."""
        self._written_at = time.monotonic()
        if checkpoint is None:
            self.train()
            return
        path, self._found = checkpoint
        self.resumed_from = self._found.step
        logger.info("going on from step %d of %s", self._found.step, path)
        self.train(resume_from_checkpoint=str(path))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        found = self._resumed
        with torch.no_grad():
            for name, parameter in self._trained().items():
                parameter.copy_(found.tensors["adapter"][name])
        if "best" in found.tensors:
            self.best = (found.values["best"][0], found.values["best"][1], found.tensors["best"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._found is None:
            return
        restore_optimizer_state(
            _plain(self.optimizer), self._found.tensors["optimizer"], self._found.values["optimizer"]
        )
        self.lr_scheduler.load_state_dict(self._found.values["schedule"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if self._found is not None and scaler is not None:
            scaler.load_state_dict(self._found.values["scaler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if self._found is not None:
            restore_random_state(self._found.tensors["random"], self._found.values["random"])

    @property
    def _resumed(self) -> Checkpoint:
        if self._found is None:
            raise RuntimeError("no checkpoint was read")
        return self._found

    def measure_if_due(self) -> None:
        """After a checkpoint that was written before its step's measurement: make up for it, as the first thing."""
        every = self.args.eval_steps if self.args.eval_strategy == "steps" else self._steps_an_epoch
        measured = any(row["step"] == self.state.global_step for row in self.state.log_history if "eval_loss" in row)
        if self._found is None or self.args.eval_strategy == "no" or measured or self.state.global_step % every:
            return
        self._load_rng_state(None)
        self._evaluate(None, None)
        self._found.tensors["random"], self._found.values["random"] = random_state()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if not self.control.should_training_stop:  # else the measurement that was made up for has ended the training
            super()._run_epoch(*args, **kwargs)

    @property
    def _steps_an_epoch(self) -> int:
        batches = -(-len(self.lengths) // self.args.per_device_train_batch_size)
        return max(-(-batches // self.args.gradient_accumulation_steps), 1)

    # writing

    @contextmanager
    def heeding_sigterm(self) -> Iterator[None]:
        """While the block runs, SIGTERM makes the training write a checkpoint and stop by `TrainingError`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _on_sigterm(self, number: int, frame: Any) -> None:
        self._told_to_stop = True
        if self._settled is not None:
            self._stop()

    def _stop(self) -> None:
        """Write the last finished step and stop; in the first step there is nothing to write yet."""
        step = self._settled["step"] if self._settled else 0
        kept = "nothing is kept yet"
        if self.checkpoints is not None and self._settled:
            self.write_checkpoint()
            kept = "its checkpoint is kept, and the same command goes on from there"
        self._settled = None  # a second signal finds nothing to do
        raise TrainingError(f"told to stop (SIGTERM) after step {step}: {kept}")

    def busy(self) -> None:
        """From now on weights change: no checkpoint until the step is settled."""
        self._settled = None

    def _settle(self) -> None:
        """The step is done and logged: remember what a checkpoint of it needs that the next step changes."""
        ends = self.state.global_step >= self.state.max_steps or self.control.should_training_stop
        if ends or self.checkpoints is None:
            self._settled = None
            return
        tensors, values = random_state()
        self._settled = {"step": self.state.global_step, "tensors": tensors, "values": values}
        if self._told_to_stop:
            self._stop()
        if time.monotonic() - self._written_at >= self.checkpoint_seconds:
            self.write_checkpoint()

    def write_checkpoint(self) -> None:
        """Write the checkpoint of the last finished step. Raises `TrainingError` for weights that are not finite."""
        settled = self._settled
        if self.checkpoints is None or settled is None:
            return
        check_finite(self._trained().items(), settled["step"])
        optimizer, plain = optimizer_state(_plain(self.optimizer))
        scaler = getattr(self.accelerator, "scaler", None)
        tensors = {"adapter": dict(self._trained()), "optimizer": optimizer, "random": settled["tensors"]}
        values = {
            "optimizer": plain,
            "schedule": self.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": settled["values"],
        }
        if self.best is not None:
            tensors["best"], values["best"] = self.best[2], self.best[:2]
        path = self.checkpoints.write(Checkpoint(settled["step"], tensors, values, plain_state(self.state)))
        self._written_at = time.monotonic()
        logger.info("checkpoint of step %d: %s", settled["step"], path)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self._settle()

    def _evaluate(self, *args: Any, **kwargs: Any) -> Any:
        # the step is done and logged, its measurement can be made up for, and a long one must keep no checkpoint back
        self._settle()
        metrics = super()._evaluate(*args, **kwargs)
        loss = metrics.get("eval_loss")
        if self.keep_best and loss is not None and (self.best is None or loss < self.best[1]):
            self.best = (
                self.state.global_step,
                loss,
                {n: p.detach().cpu().clone() for n, p in self._trained().items()},
            )
        return metrics

    def take_best(self) -> int | None:
        """Put the weights of the lowest validation loss in place; returns their step, None where none were kept."""
        if self.best is None:
            return None
        with torch.no_grad():
            for name, parameter in self._trained().items():
                parameter.copy_(self.best[2][name])
        return self.best[0]

    def check_weights(self) -> None:
        """Raise `TrainingError` where a trained weight is infinite or not a number."""
        check_finite(self._trained().items(), self.state.global_step)

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        model = self.accelerator.unwrap_model(self.model)
        return {name: value for name, value in model.named_parameters() if value.requires_grad}

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As the trainer does; a measurement that is logged belongs to the step's state, so the step is open again."""
        if any(name.startswith("eval_") for name in logs):
            self.busy()
        super().log(logs, *args, **kwargs)

    # facts

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """As the trainer does, counting the tokens that are no padding."""
        masks = [value for name, value in inputs.items() if name.endswith("attention_mask") and "prompt" not in name]
        counted = sum(mask.sum() for mask in masks) if masks else inputs["input_ids"].numel()
        self.tokens_seen = self.tokens_seen + counted
        return super().training_step(model, inputs, num_items_in_batch)


class StepWatch(TrainerCallback):
    """Tells a `Resuming` trainer when its weights are about to change, and when it has begun."""

    def __init__(self, trainer: Resuming) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """State and weights are loaded now."""
        self._trainer.measure_if_due()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The gradients are whole."""
        self._trainer.busy()


def _plain(optimizer: Any) -> torch.optim.Optimizer:
    """The optimiser inside accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def plain_state(state: TrainerState) -> dict[str, Any]:
    """The trainer's state as it reads it back: steps, epoch and everything logged. Our callbacks hold no state."""
    return {**dataclasses.asdict(state), "stateful_callbacks": {}}
