"""A merged model is the adapter on its base, to rounding, or nothing is written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_export import ADAPTER_FILES, make_adapter, make_base

from stillhouse.errors import ExportError
from stillhouse.exports.merge import MOST_ERROR, merge_adapter
from stillhouse.llm.weights import save_tokenizer, write_adapter_digests

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def _small(tensor: torch.Tensor) -> None:
    torch.nn.init.normal_(tensor, std=1e-3)


def _large(tensor: torch.Tensor) -> None:
    torch.nn.init.normal_(tensor, std=0.5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("fill", [_small, _large])
def test_a_merge_of_linear_layers_is_the_adapter_on_its_base(
    tmp_path: Path, tiny_tokenizer: Any, tied: bool, fill: Any
) -> None:
    base = make_base(tmp_path / "base", 0, tiny_tokenizer, tie_word_embeddings=tied, num_hidden_layers=3)
    facts = merge_adapter(base, make_adapter(base, tmp_path / "a", tiny_tokenizer, LINEAR, fill), tmp_path / "merged")
    assert facts["changed_matrices"] == 21 and facts["shift"] > 0
    assert facts["error_of_shift"] < MOST_ERROR / 10


@pytest.mark.parametrize("layer", ["embed_tokens", "lm_head"])
def test_an_adapter_on_a_layer_that_is_tied_to_another_is_refused(
    tmp_path: Path, tiny_tokenizer: Any, layer: str
) -> None:
    for name, tied in (("tied", True), ("apart", False)):
        base = make_base(tmp_path / name / "base", 0, tiny_tokenizer, tie_word_embeddings=tied)
        adapter = make_adapter(base, tmp_path / name / "adapter", tiny_tokenizer, [layer, "q_proj"], _large)
        if not tied:
            merge_adapter(base, adapter, tmp_path / name / "merged")
            continue
        with pytest.raises(ExportError, match=r"it is another model: its logits are \d\S* from .* moves them by \d\S*"):
            merge_adapter(base, adapter, tmp_path / name / "merged")
        assert list((tmp_path / name / "merged").iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_adapter_with_values_that_are_no_numbers_is_refused_by_name(
    tmp_path: Path, tiny_tokenizer: Any, value: float
) -> None:
    base = make_base(tmp_path / "base", 0, tiny_tokenizer)
    adapter = make_adapter(base, tmp_path / "adapter", tiny_tokenizer, ["q_proj"])
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name)
    weights[name][0, 0] = value
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(ExportError, match=r"adapter: \S*q_proj\.lora_B\S* holds values that are no finite numbers"):
        merge_adapter(base, adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_sum_that_overflows_is_refused_by_name(tmp_path: Path, tiny_tokenizer: Any) -> None:
    base = make_base(tmp_path / "base", 0, tiny_tokenizer)
    adapter = make_adapter(base, tmp_path / "adapter", tiny_tokenizer, ["q_proj"])
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: torch.full_like(tensor, 1e30) for name, tensor in weights.items()}, adapter / ADAPTER_FILES[0])
    with pytest.raises(ExportError, match=r"\S*q_proj\.weight holds values that are no finite numbers"):
        merge_adapter(base, adapter, tmp_path / "merged")


def test_a_base_with_values_that_are_no_numbers_is_refused_by_name(tmp_path: Path, tiny_tokenizer: Any) -> None:
    base = make_base(tmp_path / "base", 0, tiny_tokenizer)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    adapter = make_adapter(base, tmp_path / "adapter", tiny_tokenizer, ["q_proj"])
    with pytest.raises(ExportError, match=r"model\.norm\.weight holds values"):
        merge_adapter(base, adapter, tmp_path / "merged")


def test_a_merge_that_changes_nothing_is_refused(tmp_path: Path, tiny_tokenizer: Any) -> None:
    base = make_base(tmp_path / "base", 0, tiny_tokenizer)
    adapter = make_adapter(base, tmp_path / "adapter", tiny_tokenizer, ["q_proj"], torch.nn.init.zeros_)
    save_tokenizer(tiny_tokenizer, adapter, 64)
    write_adapter_digests(adapter, ADAPTER_FILES, base, adapter / "digests.json")
    with pytest.raises(ExportError, match="changed nothing"):
        merge_adapter(base, adapter, tmp_path / "merged")
