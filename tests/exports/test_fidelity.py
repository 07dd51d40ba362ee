"""What rounding does to an adapter is measured as stated: on made-up logits, and on the embedded model for real."""

import math
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from export_house import QUANTS, House, needs_house, sft_rows, sft_schema

from stillhouse.errors import ExportError
from stillhouse.exports.control import base_control
from stillhouse.exports.fidelity import FidelitySettings, Sums, measure_fidelity, warnings_of
from stillhouse.exports.fidelity_table import fidelity_table
from stillhouse.exports.held_out import read_passages
from stillhouse.provenance.files import write_parquet

PLACES, VOCABULARY = 40, 300


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Logits of an adapter and of its base, and the tokens that came."""
    torch.manual_seed(0)
    base = torch.randn(PLACES, VOCABULARY) * 3
    return base + torch.randn(PLACES, VOCABULARY), base, torch.randint(VOCABULARY, (PLACES,)).tolist()


def _measures(model: torch.Tensor, logits: tuple[torch.Tensor, torch.Tensor, list[int]]) -> dict[str, Any]:
    adapted, base, targets = logits
    sums = Sums()
    for half in (slice(0, 15), slice(15, None)):
        sums.add(model[half], adapted[half], base[half], targets[half])
    return sums.measures()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 1.5, -1.0])
def test_kept_is_the_share_of_the_shift(logits: Any, share: float) -> None:
    adapted, base, _ = logits
    found = _measures(base + share * (adapted - base), logits)
    assert found["kept"] == pytest.approx(share, abs=1e-4) and found["noise"] == pytest.approx(abs(1 - share), abs=1e-4)


def test_noise_that_has_nothing_to_do_with_the_adapter_leaves_kept_at_one(logits: Any) -> None:
    found = _measures(logits[0] + 0.5 * torch.randn(PLACES, VOCABULARY), logits)
    assert found["kept"] == pytest.approx(1, abs=0.1) and found["noise"] == pytest.approx(0.5, abs=0.1)
    assert 0 < found["kl"] < 1 and found["top1"] < 1


def test_the_same_logits_but_for_a_constant_at_each_place_are_the_same_model(logits: Any) -> None:
    found = _measures(logits[0] + torch.randn(PLACES, 1) * 9, logits)
    assert found["kl"] == 0 and found["top1"] == 1 and found["kept"] == 1 and found["noise"] == 0


def test_divergence_and_perplexity_are_those_of_torch(logits: Any) -> None:
    adapted, base, targets = logits
    found = _measures(base, logits)
    both = (torch.log_softmax(one.double(), -1) for one in (base, adapted))
    wanted = torch.nn.functional.kl_div(*both, log_target=True, reduction="sum").item() / PLACES
    assert found["kl"] == pytest.approx(wanted, abs=1e-4)
    loss = torch.nn.functional.cross_entropy(base.double(), torch.tensor(targets)).item()
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert found["top1"] == pytest.approx((base.argmax(-1) == adapted.argmax(-1)).double().mean().item(), abs=1e-4)


def test_an_adapter_that_does_nothing_has_no_share(logits: Any) -> None:
    _, base, targets = logits
    found = _measures(base, (base, base, targets))
    assert found["kept"] is None and found["noise"] is None
    report = {"files": [{"quant": "f16", **found}], "places": 40, "min_top1": 0.9, "min_kept": 0.8}
    assert warnings_of(report) == [
        "the adapter does not move the base's logits on these rows, so nothing can be said of its effect"
    ]


def test_warnings_tell_the_numbers() -> None:
    bad = {"quant": "Q3_K_M", "top1": 0.5, "kept": 0.25, "noise": 1.5}
    good = {"quant": "Q8_0", "top1": 0.9, "kept": 0.8, "noise": 1.0}
    assert warnings_of({"files": [bad, good], "places": 40, "min_top1": 0.9, "min_kept": 0.8}) == [
        "Q3_K_M: the most likely token is the adapter's in 0.500 of 40 places, below 0.9",
        "Q3_K_M: keeps 0.250 of the adapter's logit shift, below 0.8",
        "Q3_K_M: rounding moves the logits 1.50 times as far as the adapter does",
    ]


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, Path]:
    counts = {"train": 5, "valid": 3, "test": 2}
    for name, count in counts.items():
        rows = sft_rows([(f"{name} {number}?", f"answer {number} " * 9) for number in range(count)])
        write_parquet(tmp_path / f"{name}.parquet", rows, sft_schema())
    return {name: tmp_path / f"{name}.parquet" for name in counts}


def test_held_out_rows_come_before_trained_ones(splits: dict[str, Path], tmp_path: Path, tiny_tokenizer: Any) -> None:
    assert read_passages(splits, 9, 99, tiny_tokenizer)[0] == {"test": 2, "valid": 3}
    assert read_passages(splits, 2, 99, tiny_tokenizer)[0] == {"test": 1, "valid": 1}
    assert read_passages({"train": splits["train"]}, 9, 99, tiny_tokenizer)[0] == {"train": 5}
    write_parquet(tmp_path / "none.parquet", [], sft_schema())
    with pytest.raises(ExportError, match="no row to measure with"):
        read_passages({"train": tmp_path / "none.parquet"}, 9, 99, tiny_tokenizer)


def test_places_are_those_of_the_answer(splits: dict[str, Path], tiny_tokenizer: Any) -> None:
    for tokens in (3, 999):
        passage = read_passages(splits, 1, tokens, tiny_tokenizer)[1][0]
        prompt = tiny_tokenizer.decode(passage.ids[: -passage.answer])
        assert prompt.endswith("<|im_start|>assistant\n") and "test 0?" in prompt
        answer = "answer 0 " * 9 + "<|im_end|>"
        assert answer.startswith(tiny_tokenizer.decode(passage.targets)) and passage.answer <= tokens
        positions = list(range(len(passage.ids)))[passage.places]
        assert [passage.ids[place + 1] for place in positions] == passage.targets
    assert tiny_tokenizer.decode(passage.targets) == answer


def _damaged(source: Path, target: Path) -> Path:
    """A GGUF with one matrix of one middle layer set to nothing."""
    shutil.copyfile(source, target)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(target, "r+").tensors}
    for name in ("blk.14.ffn_down.weight", "blk.15.attn_output.weight"):
        tensors[name].data[:] = np.zeros_like(tensors[name].data)
    return target


def _measure(house: House, files: dict[str, Path], control: bool = False) -> dict[str, Any]:
    splits = {name: house.folder / "data" / f"{name}.parquet" for name in ("train", "valid", "test")}
    make = base_control(house.base, ["Q8_0"]) if control else None
    torch.set_num_threads(1)
    return measure_fidelity(house.base, house.adapter, files, splits, FidelitySettings(prompts=4, tokens=24), make)


@pytest.mark.slow
@needs_house[1]
def test_every_quantisation_of_the_embedded_model(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    report = _measure(house, {quant: house.gguf(quant) for quant in QUANTS}, control=True)
    with capsys.disabled():
        print("\n" + fidelity_table(report))
    found = {one["quant"]: one for one in report["files"]}
    assert report["rows"] == {"test": 4} and report["places"] > 40
    assert found["f16"]["kept"] == pytest.approx(1, abs=0.02) and found["f16"]["kl"] < 0.002
    assert found["f16"]["top1"] > 0.97 and found["f16"]["noise"] < 0.1
    assert found["Q3_K_M"]["kl"] > found["Q4_K_M"]["kl"] > found["Q6_K"]["kl"] > found["f16"]["kl"]
    assert found["f16"]["perplexity"] == pytest.approx(report["reference"]["perplexity_adapter"], rel=0.02)
    lost = report["control"]
    assert lost["file"] == "base-Q8_0.gguf" and lost["kept"] == pytest.approx(0, abs=0.1)
    assert lost["kl"] == pytest.approx(report["reference"]["kl_of_base"], rel=0.2)


@pytest.mark.slow
@needs_house[1]
def test_damage_and_a_lost_adapter_are_told(house: House, tmp_path: Path) -> None:
    make = base_control(house.base, ["f16"])
    assert make is not None
    (tmp_path / "plain").mkdir()
    files = {"damaged": _damaged(house.gguf("f16"), tmp_path / "damaged.gguf"), "lost": make(tmp_path / "plain")}
    report = _measure(house, {**files, "Q8_0": house.gguf("Q8_0")})
    found = {one["quant"]: one for one in report["files"]}
    assert found["lost"]["kept"] == pytest.approx(0, abs=0.03) and found["lost"]["noise"] == pytest.approx(1, abs=0.03)
    assert found["damaged"]["kl"] > 20 * found["Q8_0"]["kl"]
    words = " ".join(report["warnings"])
    assert "lost: keeps" in words and "damaged: the most likely token" in words and "Q8_0" not in words
    assert report == _measure(house, {**files, "Q8_0": house.gguf("Q8_0")})
