"""The model card says what is in the files, the same each time."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from stillhouse.exports.card import write_model_card
from stillhouse.study.plan import load_plan

RECIPE: dict[str, Any] = {
    "export": "mixed",
    "adapter": "mixed",
    "base": "smollm2",
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
    "front": {
        "license": "apache-2.0", "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct", "datasets": ["mixed"],
        "language": ["en"],
    },
    "parties": [
        {
            "key": "models.smollm2", "part": "base", "licence": "Apache-2.0",
            "terms": {"training": True, "commercial": True, "share_alike": False, "note": None},
        }
    ],
    "accepted": [],
}  # fmt: skip
FLOW = [
    {"stage": "filters", "source": "plans", "unit": "answers", "in": 40, "kept": 36, "dropped": {"min_words": 4}},
    {"stage": "duplicates", "source": None, "unit": "answers", "in": 36, "kept": 36, "dropped": {}},
]


@pytest.fixture
def card(tmp_path: Path) -> Any:
    digests = tmp_path / "Q8_0.json"
    digests.write_text(json.dumps({"files": {"mixed-Q8_0.gguf": {"sha256": "ab" * 32, "size": 144810976}}}))
    source = {"generation": "plans", "rows_in": 40, "rows_kept": 36, "realised_share": 0.7}
    report = tmp_path / "report.json"
    data = {"rows": 52, "splits": {"train": 47, "valid": 5, "test": 0}, "sources": [source], "flow": FLOW}
    report.write_text(json.dumps(data))

    def write(metrics: list[dict[str, float]], **changes: Any) -> str:
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        target = tmp_path / "README.md"
        write_model_card({**RECIPE, **changes}, [digests], tmp_path / "metrics.jsonl", report, target)
        return target.read_text()

    return write


def test_the_front_matter_is_what_the_hub_reads(card: Any, tmp_path: Path) -> None:
    card([{"step": 1, "loss": 2.5}])
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.license == "apache-2.0" and data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert data.datasets == ["mixed"] and data.language == ["en"] and data.library_name == "gguf"
    assert data.pipeline_tag == "text-generation" and data.tags == ["stillhouse", "lora", "sft"]
    assert data.to_dict()["base_model_relation"] == "finetune"


def test_the_card_of_the_default_study(card: Any, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    plan = load_plan(yaml.safe_load((root / "config/config.yaml").read_text()), root, root)
    card([], **plan.recipe_card("mixed"))
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.data.license == "apache-2.0" and loaded.data.language == ["en"]
    assert loaded.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct" and loaded.data.datasets == ["mixed"]
    assert "| prompts.everyday | prompts | apache-2.0 | yes | yes | no |" in loaded.text


def test_a_licence_that_the_hub_does_not_know_has_a_name(card: Any, tmp_path: Path) -> None:
    front = {**RECIPE["front"], "license": "other", "license_name": "by letter: as agreed"}
    text = card([], front=front)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.license == "other" and data.license_name == "by letter: as agreed"
    assert "Licence of these files: other (by letter: as agreed)." in text


def test_flow_parties_and_accepted_terms_are_told(card: Any) -> None:
    text = card([])
    assert "| filters, answers | plans | 40 | 36 | min_words 4 |" in text
    assert "| models.smollm2 | base | Apache-2.0 | yes | yes | no |  |" in text
    assert "Accepted" not in text
    accepted = [{"name": "prompts.plans:unknown", "words": "whether prompts.plans may be trained on is unknown"}]
    text = card([], accepted=accepted)
    assert "in `exports.mixed.accept_terms`:" in text
    assert "- `prompts.plans:unknown`: whether prompts.plans may be trained on is unknown" in text


def test_files_counts_and_losses_are_told(card: Any) -> None:
    text = card([{"step": 1, "loss": 2.5}, {"step": 2, "loss": 0.75}, {"step": 2, "eval_loss": 0.875}])
    assert f"| mixed-Q8_0.gguf | 144810976 | {'ab' * 32} |" in text
    assert "52 rows, of which 47 for training" in text and "| plans | 40 | 36 | 0.700 |" in text
    assert "last training loss: 0.75, last validation loss: 0.875" in text
    assert text == card([{"step": 1, "loss": 2.5}, {"step": 2, "loss": 0.75}, {"step": 2, "eval_loss": 0.875}])
