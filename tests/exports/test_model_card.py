"""The model card says what is in the files, the same each time."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.exports.card import write_model_card

RECIPE: dict[str, Any] = {
    "export": "mixed",
    "adapter": "mixed",
    "base": "smollm2",
    "licence": "apache-2.0",
    "context": 2048,
    "study": "demo",
    "quants": ["Q8_0"],
    "adapter_gguf": False,
    "dataset": "mixed",
    "recipe": {
        "objective": "sft",
        "quantization": "none",
        "lora": {"rank": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"},
        "training": {
            "epochs": 3.0,
            "batch_size": 8,
            "accumulate": 1,
            "learning_rate": 0.001,
            "schedule": "cosine",
            "seed": 42,
        },
    },
}


@pytest.fixture
def card(tmp_path: Path) -> Any:
    digests = tmp_path / "Q8_0.json"
    digests.write_text(json.dumps({"files": {"mixed-Q8_0.gguf": {"sha256": "ab" * 32, "size": 144810976}}}))
    source = {"generation": "plans", "rows_in": 40, "rows_kept": 36, "realised_share": 0.7}
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"rows": 52, "splits": {"train": 47, "valid": 5, "test": 0}, "sources": [source]}))

    def write(metrics: list[dict[str, float]], **changes: Any) -> str:
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        target = tmp_path / "README.md"
        write_model_card({**RECIPE, **changes}, [digests], tmp_path / "metrics.jsonl", report, target)
        return target.read_text()

    return write


def test_the_front_matter_is_yaml_that_the_hub_reads(card: Any) -> None:
    text = card([{"step": 1, "loss": 2.5}])
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "apache-2.0" and front["base_model"] == "smollm2" and "sft" in front["tags"]
    assert "license" not in yaml.safe_load(card([], licence=None).split("---")[1])


def test_files_counts_and_losses_are_told(card: Any) -> None:
    text = card([{"step": 1, "loss": 2.5}, {"step": 2, "loss": 0.75}, {"step": 2, "eval_loss": 0.875}])
    assert f"| mixed-Q8_0.gguf | 144810976 | {'ab' * 32} |" in text
    assert "52 rows, of which 47 for training" in text and "| plans | 40 | 36 | 0.700 |" in text
    assert "last training loss: 0.75, last validation loss: 0.875" in text
    assert text == card([{"step": 1, "loss": 2.5}, {"step": 2, "loss": 0.75}, {"step": 2, "eval_loss": 0.875}])
