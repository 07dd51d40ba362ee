"""Merges an adapter into the full-precision weights that it was trained on."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from stillhouse.errors import ExportError
from stillhouse.exports.base import check_base
from stillhouse.llm.weights import load_model, load_tokenizer, save_model, save_tokenizer, staged_folder


def merge_adapter(base: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    """Write base + adapter as one model (safetensors, tokenizer, chat template) into `folder`.

    The sum is made in fp32, never in a quantised form. Facts: parameters, and the norms of the base's and
    the adapter's part of all changed matrices together. Raises `ExportError` when the base is quantised, is not the
    one that the adapter was trained on, or reads text differently, and when the merge changes nothing.
    """
    check_base(base, adapter)
    model = load_model(base, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if tensor.ndim == 2}
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    after = merged.state_dict()
    changed = {name: after[name] - tensor for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    if not changed:
        raise ExportError(f"{adapter}: merging it changed nothing; was it trained?")
    with staged_folder(folder) as stage:
        save_model(merged, stage)
        save_tokenizer(load_tokenizer(base), stage, merged.config.max_position_embeddings)
    return {
        "parameters": merged.num_parameters(),
        "changed_matrices": len(changed),
        "norm_of_change": round(_norm(changed.values()), 4),
        "norm_of_base": round(_norm(before[name] for name in changed), 4),
    }


def _norm(tensors: Any) -> float:
    return sum(float(tensor.double().square().sum()) for tensor in tensors) ** 0.5
