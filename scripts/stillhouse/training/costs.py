"""What a training will take: steps, floating-point operations and memory, from token counts and config.json."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from stillhouse.training.settings import TrainSettings
from stillhouse.training.shape import Shape
from stillhouse.training.tokens import Tokens

MIB = 1024 * 1024
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
ADAPTER_BYTES = 4
"""The adapter and its gradients are fp32 whatever the base is."""
LOGIT_BYTES = 30
"""Bytes a logit at the peak of the loss and its way back, measured on processors."""
NF4_BYTES = 0.5 + 1 / 64 * (1 + 4 / 256)
"""Bytes a weight: 4 bits, a scale of one byte for 64 weights, and one of four bytes for 256 scales."""


class Device(NamedTuple):
    """What a training keeps up on a device: 10**12 operations a second, and the least seconds of a step."""

    teraflops: float
    step: float


# The first is the order of what benchmarks/training.py shows: 200 tokens a second of 134M weights, 4 operations each. The
# GPUs were not measured: about a third of what RTX 4090 and H100 are sold with for dense bf16, and never less than a tenth
# of a second a step, as small models keep them waiting for Python.
DEVICES = {
    "2 processor cores": Device(0.1, 0.0),
    "a GPU of 24 GB": Device(60.0, 0.1),
    "a GPU of 80 GB": Device(350.0, 0.1),
}


@dataclass(frozen=True)
class Lengths:
    """Token counts of a split."""

    rows: int
    tokens: int
    supervised: int
    longest: int
    batch: int
    batch_supervised: int

    @classmethod
    def of(cls, rows: list[list[Tokens]], batch_size: int) -> "Lengths":
        """`batch`: the most tokens of a forward pass, with padding; `batch_supervised`: those it learns from."""
        lengths = sorted((max(len(side.ids) for side in sides) for sides in rows if sides), reverse=True)
        answers = [side for sides in rows for side in sides]
        sides = len(answers) // max(len(lengths), 1)
        learned = sorted((sum(len(side.answer) for side in sides) for sides in rows), reverse=True)
        return cls(
            rows=len(rows),
            tokens=sum(len(side.ids) for side in answers),
            supervised=sum(len(side.answer) for side in answers),
            longest=lengths[0] if lengths else 0,
            batch=(lengths[0] if lengths else 0) * min(batch_size, len(lengths)) * sides,
            batch_supervised=sum(learned[:batch_size]),
        )


def steps_of(rows: int, settings: TrainSettings) -> int:
    """Optimiser steps, as transformers counts them: batches an epoch over `accumulate`, rounded up."""
    t = settings.training
    if t.max_steps is not None:
        return t.max_steps
    batches = math.ceil(rows / t.batch_size)
    return math.ceil(t.epochs * max(math.ceil(batches / t.accumulate), 1))


def training_flops(shape: Shape, lengths: Lengths, settings: TrainSettings, steps: int) -> int:
    """Multiplications and additions of a training without its measurements (Kaplan et al. 2020, for LoRA).

    A forward pass takes 2 a weight and token, the way back 2 through the frozen weights and 4 through the adapter;
    gradient checkpointing repeats the forward pass, DPO adds that of the reference.
    """
    t = settings.training
    batches = math.ceil(lengths.rows / t.batch_size)
    epochs = steps * t.accumulate / max(batches, 1)
    weights = shape.linear_parameters + shape.vocabulary * shape.hidden
    adapter = shape.lora_parameters(settings.lora.rank, settings.lora.targets)
    forward = 2 * (weights + adapter) + 4 * shape.layers * shape.heads * shape.head * lengths.longest // 2
    passes = 2 + (1 if t.gradient_checkpointing else 0) + (1 if settings.objective == "dpo" else 0)
    return round((forward * passes + 2 * adapter) * lengths.tokens * epochs)


def seconds(flops: int, steps: int) -> dict[str, int]:
    """Orders of magnitude: how long a training of so many operations takes, by the kind of device (`DEVICES`)."""
    return {name: math.ceil(max(flops / (one.teraflops * 1e12), steps * one.step)) for name, one in DEVICES.items()}


def memory(
    shape: Shape, lengths: Lengths, settings: TrainSettings, precision: str, checkpointed: bool
) -> dict[str, Any]:
    """MiB that the training's tensors take at their peak, by what they are for; runtime and libraries not counted.

    Calibrated on the private memory of trainings of SmolLM2-135M on a processor (sft, rank 16).
    """
    width, rank, targets = BYTES[precision], settings.lora.rank, settings.lora.targets
    nf4 = settings.quantization == "nf4"
    weights = shape.other_parameters * width + shape.linear_parameters * (NF4_BYTES if nf4 else width)
    adapter = shape.lora_parameters(rank, targets)
    state = 2 if settings.training.optimizer == "adamw_8bit" else 2 * ADAPTER_BYTES
    block = _block_bytes(shape, settings, width)
    kept = 2 * width * shape.hidden  # what checkpointing keeps of a block: its input
    activations = lengths.batch * (shape.layers * kept + block if checkpointed else shape.layers * block)
    logits = lengths.batch_supervised if settings.objective == "sft" else lengths.batch
    parts = {
        "weights_mib": weights,
        "adapter_mib": adapter * ADAPTER_BYTES,
        "gradients_mib": adapter * ADAPTER_BYTES,
        "optimizer_mib": adapter * state,
        "activations_mib": activations,
        "logits_mib": logits * shape.vocabulary * LOGIT_BYTES,
    }
    plain = {name: round(size / MIB, 1) for name, size in parts.items()}
    return {
        "precision": precision,
        "gradient_checkpointing": checkpointed,
        **plain,
        "total_mib": round(sum(plain.values()), 1),
    }


def _block_bytes(shape: Shape, settings: TrainSettings, width: int) -> int:
    """Bytes a token that one block keeps for the way back: what norms, attention, gate and adapters read."""
    queries, keys = shape.heads * shape.head, shape.keys * shape.head
    norms = 2 * shape.hidden * (4 + width)
    attention = 2 * (queries + keys) * width + (queries + keys) * width
    mlp = 4 * shape.inner * width
    # each adapted layer casts its input for its adapter under mixed precision; in fp32 layers share what norms put out
    inputs = sum(size for size, _ in shape.adapted(settings.lora.targets).values())
    read = inputs * width if width < 4 else 2 * shape.hidden * width
    adapters = read + len(shape.adapted(settings.lora.targets)) * settings.lora.rank * 4
    return norms + attention + mlp + adapters
