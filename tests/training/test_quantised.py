"""QLoRA: the base has 4 bits a weight, and the adapter on it is trained and kept in fp32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import metrics_of, preference_row, sft_row, write_dataset

from stillhouse.training.precision import choose_precision
from stillhouse.training.settings import TrainSettings
from stillhouse.training.tokens import load_tokenizer, render, tokenise
from stillhouse.training.train import train_adapter
from stillhouse.training.trainers import make_trainer

BASE = Path("results/models/tiny")


def settings(objective: str = "sft", quantization: str = "nf4", **training: Any) -> TrainSettings:
    recipe = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "max_length": 300, "threads": 1, **training}
    shape = {"rank": 4, "alpha": 8}
    plain = {"objective": objective, "quantization": quantization, "lora": shape, "training": recipe}
    return TrainSettings.model_validate(plain)


def rows(objective: str) -> list[dict[str, Any]]:
    return [sft_row(n) if objective == "sft" else preference_row(n) for n in range(8)]


@pytest.fixture
def train(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tiny_base)

    def run(name: str, wanted: TrainSettings, init: Path | None = None) -> dict[str, torch.Tensor]:
        dataset = write_dataset(tmp_path / f"{wanted.objective}-data", rows(wanted.objective), [])
        train_adapter(BASE, dataset, tmp_path / name, wanted, tmp_path / "checkpoints", init=init)
        return load_file(tmp_path / name / "adapter_model.safetensors")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", ["sft", "dpo", "orpo"])
def test_what_is_trained_and_its_reference_are_fp32(train: Any, tmp_path: Path, objective: str, precision: str) -> None:
    """bf16 holds 8 bits: an update below one 256th of a weight would be rounded away."""
    start = train("start", settings(precision="fp32", max_steps=2))
    wanted, tokenizer = settings(objective, precision=precision), load_tokenizer(BASE)
    tokens = tokenise([render(row, objective, tokenizer) for row in rows(objective)], objective, tokenizer)
    for init in (None, tmp_path / "start"):
        trainer = make_trainer(wanted, BASE, tokenizer, (tokens, []), choose_precision(precision), tmp_path, init)
        found = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad or ".ref." in n}
        assert found and {value.dtype for value in found.values()} == {torch.float32}
        assert any(".ref." in name for name in found) == (objective == "dpo" and init is not None)
    for name, value in found.items():  # those of the adapter that it goes on from, to the last bit
        assert torch.equal(value, start[name.replace(".default.", ".").replace(".ref.", ".")])
    saved = train("saved", wanted.model_copy(update={"training": wanted.training.model_copy(update={"max_steps": 2})}))
    assert {value.dtype for value in saved.values()} == {torch.float32}
    assert not all(torch.equal(value, value.bfloat16().float()) for value in saved.values())


@pytest.mark.slow
def test_small_learning_rates_move_as_many_weights_as_on_a_plain_base(train: Any, tmp_path: Path) -> None:
    small = {"learning_rate": 1e-5, "schedule": "constant", "warmup": 0.0, "precision": "fp32"}
    for quantization in ("none", "nf4"):
        before = train(f"start-{quantization}", settings(quantization=quantization, max_steps=4))
        after = train(
            f"after-{quantization}", settings(quantization=quantization, **small), tmp_path / f"start-{quantization}"
        )
        moved = torch.cat([(before[name] != after[name]).flatten() for name in before])
        assert moved.float().mean() > 0.95


@pytest.mark.slow
def test_a_quantised_base_learns_at_a_low_rate_as_a_plain_one_does(train: Any, tmp_path: Path) -> None:
    low = {"learning_rate": 1e-4, "epochs": 12, "schedule": "constant", "warmup": 0.0, "precision": "fp32"}
    fallen = {}
    for quantization in ("none", "nf4"):
        train(quantization, settings(quantization=quantization, **low))
        losses = [row["loss"] for row in metrics_of(tmp_path / quantization)]
        fallen[quantization] = losses[0] - losses[-1]
    assert fallen["nf4"] > 0.5 * fallen["none"] > 0
