"""An adapter goes into the very base that it was trained on, in full precision, or nowhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_export import make_adapter, make_base

from stillhouse.errors import ExportError, InputError
from stillhouse.exports.merge import merge_adapter
from stillhouse.llm.weights import save_tokenizer, write_adapter_digests
from stillhouse.provenance.files import read_json, write_json


@pytest.fixture
def pair(tmp_path: Path, tiny_tokenizer: Any) -> tuple[Path, Path]:
    """A base and an adapter on it, as training leaves them."""
    base = make_base(tmp_path / "models" / "tiny", 0, tiny_tokenizer)
    return base, make_adapter(base, tmp_path / "adapters" / "tiny", tiny_tokenizer, ["q_proj"])


def test_the_right_base_is_merged(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert merge_adapter(*pair, tmp_path / "merged")["changed_matrices"] == 1
    digests = read_json(pair[1] / "digests.json")
    assert sorted(digests["base"]) == ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(digests["files"]) == [
        "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json"
    ]  # fmt: skip


def test_another_base_of_the_same_name_and_shape_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, tiny_tokenizer: Any
) -> None:
    other = make_base(tmp_path / "elsewhere" / "tiny", 1, tiny_tokenizer)
    with pytest.raises(ExportError, match=r"trained on another model.safetensors .* \(sha256 [0-9a-f]{12}, found"):
        merge_adapter(other, pair[1], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_that_does_not_know_its_base_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    digests = read_json(pair[1] / "digests.json")
    del digests["base"]
    write_json(pair[1] / "digests.json", digests)
    with pytest.raises(ExportError, match="does not say which weights"):
        merge_adapter(*pair, tmp_path / "merged")


def _nf4(base: Path) -> None:
    config = read_json(base / "config.json")
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    write_json(base / "config.json", config)


def _bytes(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.weight"] = torch.zeros(32, 32, dtype=torch.uint8)
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


def _float8(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    save_file({k: v.to(torch.float8_e4m3fn) for k, v in weights.items()}, base / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_nf4, r"quantised weights \(bitsandbytes\)"), (_bytes, "q_proj.weight as U8"), (_float8, "as F8_E4M3")],
)
def test_a_quantised_base_is_refused_even_where_the_adapter_was_trained_on_it(
    pair: tuple[Path, Path], tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    base, adapter = pair
    spoil(base)
    write_adapter_digests(adapter, ["adapter_config.json"], base, adapter / "digests.json")
    with pytest.raises(ExportError, match=words):
        merge_adapter(base, adapter, tmp_path / "merged")


def test_an_adapter_with_an_added_token_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, tiny_tokenizer: Any
) -> None:
    base, adapter = pair
    tiny_tokenizer.add_tokens(["<think>"])
    save_tokenizer(tiny_tokenizer, adapter, 64)
    with pytest.raises(ExportError, match=r"has the token '<think>' \(\d+\), which .*tiny lacks"):
        merge_adapter(base, adapter, tmp_path / "merged")


def test_an_adapter_with_another_template_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    template = adapter / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant\n", "assistant \n"))
    with pytest.raises(ExportError, match=r"chat_template.jinja of"):
        merge_adapter(base, adapter, tmp_path / "merged")


def test_swapped_token_ids_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    document = json.loads((adapter / "tokenizer.json").read_text())
    vocabulary = document["model"]["vocab"]
    first, second = sorted(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (adapter / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(ExportError, match=r"token '.+' is \d+ in .* and \d+ in"):
        merge_adapter(base, adapter, tmp_path / "merged")


def test_a_base_whose_files_went_away_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = pair
    shutil.rmtree(base)
    with pytest.raises(InputError, match=r"no model.safetensors"):
        merge_adapter(base, adapter, tmp_path / "merged")
