"""Measures what rounding to GGUF does to an adapter's answers.

The measures, over all places of the held-out answers. At one place let `a` be the logits of the adapter on its base (the
reference, fp32, in transformers), `b` those of the base alone (same engine) and `q` those of a GGUF (llama.cpp):

- `kl`: Kullback-Leibler divergence KL(softmax a || softmax q), mean, in nats a token.
- `top1`: share of places where `a` and `q` have the same most likely token.
- `perplexity`: exp of the mean loss on the tokens that the answers really have.
- `kept`: share of the adapter's logit shift that survives. The shift of the adapter is a - b, that of the GGUF q - b, both
  against the same base. With <x, y> = sum over tokens v of w_v (x_v - mean x)(y_v - mean y), where the weights w are the mean
  of softmax a and softmax b and the means are weighted by them, kept = sum <q - b, a - b> / sum <a - b, a - b>, both sums
  over all places. 1: all of the shift is there; 0: the GGUF is no nearer to the adapter than the base is. The weights count
  tokens that one of the two models would say; constants added to all logits change nothing.
- `noise`: sqrt(sum <q - a, q - a> / sum <a - b, a - b>), how far rounding moves the logits, in units of the adapter's shift.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import torch
from peft import PeftModel

from stillhouse.exports.base import check_base
from stillhouse.exports.held_out import Passage, read_passages
from stillhouse.llm.weights import load_model, load_tokenizer

logger = logging.getLogger(__name__)

SMALLEST_SHIFT = 1e-6
DIGITS = 4


@dataclass(frozen=True)
class FidelitySettings:
    """How many rows and tokens are measured, and below which shares a warning is given."""

    prompts: int = 16
    tokens: int = 128
    min_top1: float = 0.9
    min_kept: float = 0.8


@dataclass
class Sums:
    """What is added up over all places for one model."""

    places: int = 0
    loss: float = 0.0
    kl: float = 0.0
    same: int = 0
    along: float = 0.0
    off: float = 0.0
    shift: float = 0.0

    def add(self, model: torch.Tensor, adapted: torch.Tensor, base: torch.Tensor, targets: list[int]) -> None:
        """Count places of one passage; logits are (places, vocabulary), targets the token that came at each place."""
        model, adapted, base = model.double(), adapted.double(), base.double()
        p, q = torch.log_softmax(adapted, -1), torch.log_softmax(model, -1)
        weights = (p.exp() + torch.softmax(base, -1)) / 2
        self.places += len(targets)
        self.loss -= q.gather(1, torch.tensor(targets)[:, None]).sum().item()
        self.kl += (p.exp() * (p - q)).sum().item()
        self.same += int((adapted.argmax(-1) == model.argmax(-1)).sum())
        shift = _centred(adapted - base, weights)
        self.along += (weights * _centred(model - base, weights) * shift).sum().item()
        self.off += (weights * _centred(model - adapted, weights).square()).sum().item()
        self.shift += (weights * shift.square()).sum().item()

    def measures(self) -> dict[str, float | None]:
        """The measures of the module's description; shares are None where the adapter does not move the base."""
        moved = self.shift / self.places > SMALLEST_SHIFT
        return {
            "kl": round(self.kl / self.places, DIGITS),
            "top1": round(self.same / self.places, DIGITS),
            "perplexity": round(float(np.exp(self.loss / self.places)), DIGITS),
            "kept": round(self.along / self.shift, DIGITS) if moved else None,
            "noise": round((self.off / self.shift) ** 0.5, DIGITS) if moved else None,
        }


Logits = Iterator[tuple[Passage, torch.Tensor]]
"""For every passage the logits at its answer's places."""


def measure_fidelity(
    base: Path,
    adapter: Path,
    ggufs: Mapping[str, Path],
    splits: Mapping[str, Path],
    settings: FidelitySettings,
    control: Callable[[Path], Path] | None = None,
) -> dict[str, Any]:
    """Measure every GGUF of an export (by quantisation) against its adapter on the full-precision base.

    `splits` are the parquet files of the dataset by split. `control` makes a quantised GGUF of the base alone in an empty
    folder: measured in the same way it shows what a lost adapter looks like. The report is plain data, with warnings
    in words. Raises `ExportError` when base and adapter do not belong together or no row is there.
    """
    check_base(base, adapter)
    taken, passages = read_passages(splits, settings.prompts, settings.tokens, load_tokenizer(base))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        reference = _reference(base, adapter, passages, scratch)
        files = [
            {"quant": quant, "file": gguf.name, **_measure(gguf, passages, scratch)} for quant, gguf in ggufs.items()
        ]
        plain = control(scratch) if control else None
        lost = {"file": plain.name, **_measure(plain, passages, scratch)} if plain else None
    report = {
        "rows": taken,
        "places": sum(passage.answer for passage in passages),
        "reference": reference,
        "files": files,
        "control": lost,
        "min_top1": settings.min_top1,
        "min_kept": settings.min_kept,
    }
    report["warnings"] = warnings_of(report)
    for words in report["warnings"]:
        logger.warning("%s", words)
    return report


def _centred(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return values - (weights * values).sum(-1, keepdim=True)


@torch.inference_mode()
def _reference(base: Path, adapter: Path, passages: list[Passage], scratch: Path) -> dict[str, Any]:
    """Leave the logits of adapter and base in `scratch`; losses of both, and how far the adapter moves the logits."""
    model = PeftModel.from_pretrained(load_model(base, torch.float32), str(adapter)).eval()
    sums = {"adapter": Sums(), "base": Sums()}
    for number, passage in enumerate(passages):
        ids = torch.tensor([passage.ids])
        adapted = model(ids).logits[0, passage.places].float()
        with model.disable_adapter():
            plain = model(ids).logits[0, passage.places].float()
        np.save(scratch / f"adapted-{number}.npy", adapted.numpy())
        np.save(scratch / f"base-{number}.npy", plain.numpy())
        sums["adapter"].add(adapted, adapted, plain, passage.targets)
        sums["base"].add(plain, adapted, plain, passage.targets)
    moved = (sums["adapter"].shift / sums["adapter"].places) ** 0.5
    perplexities = {f"perplexity_{name}": one.measures()["perplexity"] for name, one in sums.items()}
    return {
        "dtype": "float32",
        "shift": round(moved, DIGITS),
        "kl_of_base": sums["base"].measures()["kl"],
        **perplexities,
    }


def _measure(gguf: Path, passages: list[Passage], scratch: Path) -> dict[str, Any]:
    sums = Sums()
    for number, (passage, logits) in enumerate(gguf_logits(gguf, passages)):
        adapted, base = (np.load(scratch / f"{name}-{number}.npy") for name in ("adapted", "base"))
        # a GGUF may have padding tokens behind the tokenizer's
        width = min(logits.shape[1], adapted.shape[1])
        trimmed = (torch.from_numpy(one[:, :width]) for one in (adapted, base))
        sums.add(logits[:, :width], *trimmed, passage.targets)
    return {"size": gguf.stat().st_size, **sums.measures()}


def gguf_logits(gguf: Path, passages: list[Passage]) -> Logits:
    """Each passage with llama.cpp's logits at its answer's places, on one thread of the processor."""
    longest = max(len(passage.ids) for passage in passages)
    llama = llama_cpp.Llama(
        str(gguf), n_ctx=longest + 8, n_batch=longest + 8, n_threads=1, n_threads_batch=1, n_gpu_layers=0,
        logits_all=True, verbose=False,
    )  # fmt: skip
    try:
        for passage in passages:
            llama.reset()
            llama.eval(passage.ids)
            yield passage, torch.from_numpy(llama.scores[passage.places].copy())
    finally:
        llama.close()


def warnings_of(report: Mapping[str, Any]) -> list[str]:
    """What is below the stated shares, with numbers."""
    found = []
    if report["files"] and report["files"][0]["kept"] is None:
        found.append("the adapter does not move the base's logits on these rows, so nothing can be said of its effect")
    for one in report["files"]:
        name, kept = one["quant"], one["kept"]
        if one["top1"] < report["min_top1"]:
            share = f"{one['top1']:.3f} of {report['places']} places"
            found.append(f"{name}: the most likely token is the adapter's in {share}, below {report['min_top1']:g}")
        if kept is not None and kept < report["min_kept"]:
            found.append(f"{name}: keeps {kept:.3f} of the adapter's logit shift, below {report['min_kept']:g}")
        if one["noise"] is not None and one["noise"] > 1:
            found.append(f"{name}: rounding moves the logits {one['noise']:.2f} times as far as the adapter does")
    return found
