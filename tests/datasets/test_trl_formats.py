"""Rows of each format in TRL's own trainers: loaded from our parquet by `datasets`, one step with a tiny model."""

import math
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from format_rows import AGENT, CALLER, PLAIN, ROWS, context_of, examples_of, write_split
from tiny_model import write_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from stillhouse.datasets.tokens import Counter

pytestmark = pytest.mark.slow

COMMON = {
    "max_steps": 1, "per_device_train_batch_size": 2, "max_length": 1024, "report_to": "none", "save_strategy": "no",
    "use_cpu": True, "bf16": False, "disable_tqdm": True, "logging_steps": 1,
    "learning_rate": 1e-2, "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hf")))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def load(path: Path, form: str, rows: Any = ROWS, rich: bool = False, context: Any = None) -> datasets.Dataset:
    file = write_split(path / "train.parquet", form, examples_of(form, rows, context), rich)
    return datasets.load_dataset("parquet", data_files=str(file), split="train")


def one_step(trainer_class: Any, config_class: Any, folder: Path, rows: Any, output: Path, **config: Any) -> Any:
    """The trainer after one step that changed the model and had a finite loss."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = trainer_class(
        model=model,
        args=config_class(**COMMON, output_dir=str(output), **config),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert trainer.state.global_step == 1 and len(losses) == 1 and math.isfinite(losses[0])
    assert any(not torch.equal(before[name], value) for name, value in trainer.model.state_dict().items())
    return trainer


def learned(trainer: Any, number: int) -> tuple[str, str]:
    """What a row of SFT reads, and the part of it that carries loss."""
    row, tokenizer = trainer.train_dataset[number], trainer.processing_class
    kept = [one for one, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    return tokenizer.decode(row["input_ids"]), tokenizer.decode(kept)


@pytest.mark.parametrize("form", ["sft", "reasoning", "critic"])
def test_sft_takes_a_step_and_learns_the_completion(form: str, folder: Path, tmp_path: Path) -> None:
    rows = load(tmp_path, form)
    trainer = one_step(SFTTrainer, SFTConfig, folder, rows, tmp_path / "out", completion_only_loss=True)
    assert len(trainer.train_dataset) == len(rows) > 1
    counted = Counter(folder).count_rows(rows)
    assert [len(one["input_ids"]) for one in trainer.train_dataset] == counted.tolist()
    for number, row in enumerate(rows):
        read, kept = learned(trainer, number)
        assert kept.strip() == row["completion"][0]["content"] + "<|im_end|>"
        assert all(message["content"] in read for message in row["prompt"])


def test_sft_reads_tools_and_their_calls(folder: Path, tmp_path: Path) -> None:
    rows = load(tmp_path, "sft", (PLAIN, AGENT, CALLER), rich=True)
    assert rows[0]["prompt"] == [{"content": "Should the bakery move?", "role": "user"}]
    trainer = one_step(SFTTrainer, SFTConfig, folder, rows, tmp_path / "out", completion_only_loss=True)
    plain, _ = learned(trainer, 0)
    assert "<call>" not in plain and "tools" not in plain
    agent, kept = learned(trainer, 1)
    assert "Rain in mm" in agent and '<call>[{"function": {"arguments": {"month": "May"' in agent and "118<" in agent
    assert kept.strip() == "118 mm fell.<|im_end|>"
    _, kept = learned(trainer, 2)
    assert '"arguments": {"month": "May"}' in kept and kept.strip().startswith("<call>[") and "Bern" not in kept


PLACES = {
    "losers": {}, "draft": {"rejected": "draft"}, "student": {"rejected": [{"generation": "student"}, "losers"]},
}  # fmt: skip


@pytest.mark.parametrize("place", sorted(PLACES))
def test_dpo_takes_a_step(place: str, folder: Path, tmp_path: Path) -> None:
    others = {"student": {(row["prompt_id"], 0): f"I am not sure about {row['id']}." for row in ROWS}}
    rows = load(tmp_path, "preference", context=context_of("preference", others, pairs=PLACES[place]))
    trainer = one_step(DPOTrainer, DPOConfig, folder, rows, tmp_path / "out")
    assert len(trainer.train_dataset) == len(rows) >= 1
    for row, made in zip(rows, trainer.train_dataset, strict=True):
        for side in ("chosen", "rejected"):
            text = trainer.processing_class.decode(made[f"{side}_ids"])
            assert text.strip() == row[side][0]["content"] + "<|im_end|>"


def test_dpo_reads_tools(folder: Path, tmp_path: Path) -> None:
    others = {"student": {(AGENT["prompt_id"], 0): "No idea."}}
    told = context_of("preference", others, pairs={"rejected": [{"generation": "student"}]})
    rows = load(tmp_path, "preference", (AGENT,), rich=True, context=told)
    trainer = one_step(DPOTrainer, DPOConfig, folder, rows, tmp_path / "out")
    assert "Rain in mm" in trainer.processing_class.decode(trainer.train_dataset[0]["prompt_ids"])


def test_orpo_takes_a_step(folder: Path, tmp_path: Path) -> None:
    rows = load(tmp_path, "preference")
    trainer = one_step(ORPOTrainer, ORPOConfig, folder, rows, tmp_path / "out")
    read = trainer.processing_class.decode(trainer.train_dataset[0]["chosen_input_ids"])
    assert rows[0]["prompt"][0]["content"] in read and rows[0]["chosen"][0]["content"] in read
