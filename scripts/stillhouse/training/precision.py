"""The number format of the frozen base, and why it was chosen."""

from dataclasses import dataclass

import torch

from stillhouse.errors import TrainingError
from stillhouse.llm.weights import native_dtype

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Precision:
    """A number format by its name in studies, and the reason for it."""

    name: str
    reason: str

    @property
    def computing(self) -> str:
        """Number format and kind of device, for the names of checkpoints: `bf16-cuda`."""
        return f"{self.name}-{'cuda' if torch.cuda.is_available() else 'cpu'}"

    @property
    def dtype(self) -> torch.dtype:
        """Torch's name of it."""
        return DTYPES[self.name]


def choose_precision(asked: str) -> Precision:
    """What to compute in: `asked`, or for `auto` bf16 where the hardware computes in it, else fp16 on a GPU, else fp32.

    Raises `TrainingError` for fp16 without a GPU: its losses need scaling, which no trainer does on a processor.
    """
    gpu = torch.cuda.is_available()
    native = native_dtype() == torch.bfloat16
    where = "the GPU" if gpu else "the processor"
    if asked == "fp16" and not gpu:
        raise TrainingError("training.precision fp16 needs a GPU; use auto, bf16 or fp32 on a processor")
    if asked != "auto":
        slow = "" if asked != "bf16" or native else f", though {where} does not compute in it"
        return Precision(asked, f"asked for{slow}")
    if native:
        return Precision("bf16", f"{where} computes in bf16")
    if gpu:
        return Precision("fp16", "the GPU does not compute in bf16")
    return Precision("fp32", "the processor does not compute in bf16")
