"""Merges an adapter into the full-precision weights that it was trained on."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open

from stillhouse.errors import ExportError
from stillhouse.exports.base import check_base
from stillhouse.llm.weights import PARITY_TEXT, load_model, load_tokenizer, save_model, save_tokenizer, staged_folder

MOST_IDS = 64
"""Tokens of each of the two sequences that the merge is held to."""

MOST_ERROR = 0.02
"""How far the merged model's logits may be from the adapter's on its base, in units of the adapter's own shift."""

ROUNDING = 1e-5
"""The part of the logits' own size that sums in fp32, made in another order, may move them by in any case."""


def merge_adapter(base: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    """Write base + adapter as one model (safetensors, tokenizer, chat template) into `folder`.

    The sum is made in fp32, never in a quantised form. Facts: parameters, the norms of the base's and the adapter's
    part of all changed matrices together, and how near the written model is to the adapter on its base. Raises
    `ExportError` when the base is quantised, is not the one that the adapter was trained on, or reads text differently,
    when a weight is no finite number, when the merge changes nothing, and when the written model is another one.
    """
    check_base(base, adapter)
    check_finite(_stored(adapter / "adapter_model.safetensors"), str(adapter))
    tokenizer = load_tokenizer(base)
    model = load_model(base, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if tensor.ndim == 2}
    probes = _probes(tokenizer.encode(PARITY_TEXT, add_special_tokens=False), model.config)
    adapted = PeftModel.from_pretrained(model, str(adapter)).eval()
    wanted = _logits(adapted, probes)
    with adapted.disable_adapter():
        plain = _logits(adapted, probes)
    merged = adapted.merge_and_unload()
    after = merged.state_dict()
    check_finite(after.items(), f"{base} with {adapter}")
    changed = {name: after[name] - tensor for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    if not changed:
        raise ExportError(f"{adapter}: merging it changed nothing; was it trained?")
    facts = {
        "parameters": merged.num_parameters(),
        "changed_matrices": len(changed),
        "norm_of_change": round(_norm(changed.values()), 4),
        "norm_of_base": round(_norm(before[name] for name in changed), 4),
    }
    with staged_folder(folder) as stage:
        save_model(merged, stage)
        save_tokenizer(tokenizer, stage, merged.config.max_position_embeddings)
        del model, adapted, merged, before, after, changed
        # what was written, not what is in memory: tied layers become one in the file
        facts |= _held(wanted, plain, _logits(load_model(stage, torch.float32).eval(), probes), adapter)
    return facts


def check_finite(tensors: Iterable[tuple[str, torch.Tensor]], what: str) -> None:
    """Raise `ExportError`, naming the tensor, where a number of a model is none or endless."""
    for name, tensor in tensors:
        if not torch.isfinite(tensor).all():
            raise ExportError(f"{what}: {name} holds values that are no finite numbers; nothing is made of it")


def _stored(file: Path) -> Iterable[tuple[str, torch.Tensor]]:
    with safe_open(file, framework="pt") as tensors:
        for name in sorted(tensors.keys()):
            yield name, tensors.get_tensor(name)


def _probes(text: list[int], config: Any) -> list[torch.Tensor]:
    """Two sequences of ids: plain text, and tokens spread over the whole vocabulary, since an adapter may change any."""
    length = min(MOST_IDS, config.max_position_embeddings)
    step = max(1, config.vocab_size // length)
    return [torch.tensor([ids[:length]]) for ids in (text, list(range(0, config.vocab_size, step)))]


@torch.inference_mode()
def _logits(model: torch.nn.Module, probes: list[torch.Tensor]) -> torch.Tensor:
    """Logits at every place of the probes (places, vocabulary), in fp32."""
    return torch.cat([model(ids).logits[0].float() for ids in probes])


def _held(wanted: torch.Tensor, plain: torch.Tensor, found: torch.Tensor, adapter: Path) -> dict[str, float]:
    """Hold the merged model's logits to those of the adapter on its base; all as root mean squares.

    Facts: the adapter's shift, and the error as a share of it. Raises `ExportError` for an error above `MOST_ERROR` of
    the shift and above what rounding explains.
    """
    shift, error, size = (_rms(one) for one in (wanted - plain, found - wanted, wanted))
    allowed = MOST_ERROR * shift + ROUNDING * size
    if not error <= allowed:
        raise ExportError(
            f"{adapter}: merged into its base it is another model: its logits are {error:.3g} from those of the adapter "
            f"on its base, which moves them by {shift:.3g} (at most {allowed:.3g} is allowed, {MOST_ERROR:g} of that and "
            "rounding). An adapter on a layer that shares its weights with another (embed_tokens, lm_head of a tied "
            "base) cannot be merged"
        )
    # few digits: those of rounding itself differ between processors
    return {"shift": float(f"{shift:.3g}"), "error_of_shift": round(error / shift, 3) if shift else 0.0}


def _rms(values: torch.Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def _norm(tensors: Any) -> float:
    return sum(float(tensor.double().square().sum()) for tensor in tensors) ** 0.5
