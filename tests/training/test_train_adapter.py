"""Training for real, on a tiny model: objectives, files, and the same bytes from the same seed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_training import metrics_of, preference_row, sft_row, write_dataset

from stillhouse.errors import TrainingError
from stillhouse.provenance.digests import digest_file
from stillhouse.training.adapted import load_base
from stillhouse.training.settings import TrainSettings
from stillhouse.training.train import FILES, train_adapter

BASE = Path("results/models/tiny")
LORA = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")


def settings(objective: str = "sft", quantization: str = "none", **training: Any) -> TrainSettings:
    shape = {"rank": 4, "alpha": 8}
    recipe = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "max_length": 200, "threads": 1, **training}
    return TrainSettings.model_validate(
        {"objective": objective, "quantization": quantization, "lora": shape, "training": recipe}
    )


@pytest.fixture
def train(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Train in the study's folder, as the rule does; returns the folder and the facts."""
    monkeypatch.chdir(tiny_base)

    def run(name: str, wanted: TrainSettings, valid: int = 2) -> tuple[Path, dict[str, Any]]:
        row = sft_row if wanted.objective == "sft" else preference_row
        rows = [row(n) for n in range(8 + valid)]
        dataset = write_dataset(tmp_path / f"{name}-data", rows[:8], rows[8:])
        output = Path("results/adapters") / tmp_path.name / name
        return output, train_adapter(BASE, dataset, output, wanted, tmp_path / "checkpoints")

    return run


def digests(folder: Path) -> dict[str, str]:
    return {path.name: digest_file(path) for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(train: Any) -> None:
    (first, facts), (second, _) = train("a", settings()), train("b", settings())
    assert digests(first) == digests(second)
    assert sorted(digests(first)) == sorted([*FILES, "digests.json"])
    other, _ = train("c", settings(seed=43))
    assert digests(other)["adapter_model.safetensors"] != digests(first)["adapter_model.safetensors"]
    assert facts["rows"] == 8 and facts["steps"] == 4 and 0 < facts["supervised_tokens"] < facts["tokens"]


@pytest.mark.slow
def test_the_adapter_is_canonical_and_loads_from_the_folder_of_the_study(train: Any) -> None:
    output, facts = train("a", settings())
    config = json.loads((output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE.as_posix()
    assert config["target_modules"] == sorted(config["target_modules"])
    model = AutoPeftModelForCausalLM.from_pretrained(str(output))
    assert sum(p.numel() for n, p in model.named_parameters() if "lora_" in n) == facts["trainable_parameters"]
    assert all(torch.isfinite(t).all() for t in load_file(output / "adapter_model.safetensors").values())
    listed = json.loads((output / "digests.json").read_text())["files"]
    assert {n: e["sha256"] for n, e in listed.items()} == {n: d for n, d in digests(output).items() if n in FILES}


@pytest.mark.slow
def test_metrics_hold_losses_and_no_times(train: Any) -> None:
    output, facts = train("a", settings(epochs=6))
    rows = metrics_of(output)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 12 and losses[-1] < losses[0]
    assert [row["step"] for row in rows if "eval_loss" in row] == [2, 4, 6, 8, 10, 12]
    assert facts["train_loss"] == losses[-1] and facts["valid_loss"] is not None
    assert set().union(*rows) == {"step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm"}
    assert "<svg" in (output / "loss.svg").read_text()


@pytest.mark.slow
def test_a_dataset_without_validation_rows_trains_unmeasured(train: Any) -> None:
    output, facts = train("a", settings(), valid=0)
    assert facts["valid_loss"] is None
    assert not any("eval_loss" in row for row in metrics_of(output))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "quantization", "optimizer"),
    [("dpo", "none", "adamw_torch"), ("orpo", "none", "adamw_torch"), ("sft", "nf4", "adamw_8bit")],
)
def test_every_objective_and_form_trains(train: Any, objective: str, quantization: str, optimizer: str) -> None:
    output, facts = train("a", settings(objective, quantization, optimizer=optimizer, max_steps=3))
    assert facts["steps"] == 3 and facts["supervised_tokens"] > 0
    changed = [t for name, t in load_file(output / "adapter_model.safetensors").items() if "lora_B" in name]
    assert any(t.abs().sum() > 0 for t in changed)
    assert sorted(digests(output)) == sorted([*FILES, "digests.json"])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_through_a_4bit_base_are_the_same_after_an_evaluation(
    tiny_base: Path, precision: torch.dtype
) -> None:
    """bitsandbytes repacks the weights in evaluation on some processors, for a kernel without gradients."""
    model = get_peft_model(load_base(tiny_base / BASE, settings(quantization="nf4"), precision), LORA)
    ids = torch.arange(40).view(2, 20) + 10

    def gradients() -> dict[str, torch.Tensor]:
        model.train()
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    after = gradients()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_the_loss_is_the_mean_over_supervised_tokens(train: Any, tiny_base: Path) -> None:
    """At step one the adapter is still nothing, so the logged loss is the base's, worked out by hand."""
    from stillhouse.llm.weights import load_model, load_tokenizer

    output, _ = train("a", settings(batch_size=8, max_steps=1, precision="fp32"))
    model, tokenizer = load_model(BASE, torch.float32), load_tokenizer(BASE)
    total, count = 0.0, 0
    for number in range(8):
        row = sft_row(number)
        opened = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
        start = len(tokenizer.encode(opened))
        ids = torch.tensor([tokenizer.encode(whole)])
        with torch.inference_mode():
            logits = model(ids).logits[0, start - 1 : -1]
        total += torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum").item()
        count += ids.shape[1] - start
    assert metrics_of(output)[0]["loss"] == pytest.approx(total / count, rel=1e-3)


def test_bad_rows_stop_before_anything_is_written(tiny_base: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", [sft_row(0), sft_row(1, "long " * 300)], [])
    with pytest.raises(TrainingError, match="plan-1"):
        train_adapter(tiny_base / BASE, dataset, tmp_path / "out", settings(), tmp_path / "checkpoints")
    assert not (tmp_path / "out").exists()
