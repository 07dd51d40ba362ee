"""The model card says what is in the files, the same each time."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import filter_repo_objects

from stillhouse.errors import ExportError
from stillhouse.exports.card import CardSources, write_model_card
from stillhouse.exports.modelfile_warnings import with_warnings
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
    "stages": [
        {"adapter": "mixed", "objective": "sft", "dataset": "mixed", "by_models": ["plans"], "by_files": []},
    ],
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

    def write(metrics: list[dict[str, Any]], more: CardSources | None = None, **changes: Any) -> str:
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        target = tmp_path / "README.md"
        write_model_card(
            {**RECIPE, **changes}, [digests], tmp_path / "metrics.jsonl", report, target, more or CardSources()
        )
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


def _trained(**training: Any) -> dict[str, Any]:
    recipe = copy.deepcopy(RECIPE)
    recipe["recipe"]["training"].update(training)
    return recipe


STEPS: list[dict[str, Any]] = [
    {"step": 4, "loss": 2.0}, {"step": 4, "eval_loss": 1.5}, {"step": 5, "loss": 1.0}, {"step": 5, "eval_loss": 1.75}
]  # fmt: skip


@pytest.mark.parametrize(
    ("training", "there", "missing"),
    [
        ({}, "- length: 3 epochs; it took 5 optimiser steps\n- weights: the last ones\n", "early stopping"),
        ({"max_steps": 7}, "- length: at most 7 optimiser steps; it took 5 optimiser steps\n", "epochs"),
        ({"early_stopping": {"patience": 2, "min_delta": 0.5}}, "fallen by more than 0.5 in 2 measurements", "lowest"),
        ({"best": True}, "- weights: those of step 4, of the lowest validation loss (1.5)\n", "the last ones"),
    ],
    ids=["epochs", "max_steps", "early_stopping", "best"],
)
def test_how_long_it_was_trained_is_told(card: Any, training: dict[str, Any], there: str, missing: str) -> None:
    text = card(STEPS, recipe=_trained(**training)["recipe"])
    section = text[text.index("## Training") : text.index("## Data")]
    assert there in section and missing not in section and "\n\n\n" not in text


@pytest.mark.parametrize("key", ["loss", "eval_loss"])
def test_a_loss_that_is_no_number_is_refused(card: Any, key: str) -> None:
    with pytest.raises(ExportError, match=r"metrics.jsonl: the last (train|valid) loss is nan, no number"):
        card([{"step": 1, "loss": 2.0}, {"step": 2, key: float("nan")}])


def _stage(dataset: str, models: list[str], files: list[str]) -> dict[str, Any]:
    return {"adapter": f"on-{dataset}", "objective": "sft", "dataset": dataset, "by_models": models, "by_files": files}


def test_whose_answers_it_was_trained_on_is_told(card: Any) -> None:
    told = "answers of {} were written by models", "answers of {} came with the study as files"
    for stages, expected in (
        ([_stage("a", ["plans"], [])], [told[0].format("plans")]),
        ([_stage("a", [], ["people"])], [told[1].format("people")]),
        ([_stage("a", ["one"], ["people"]), _stage("b", ["one", "two"], [])],
         [told[0].format("one, two"), told[1].format("people")]),
    ):  # fmt: skip
        text = card([], stages=stages)
        assert [one for one in told if one.split("{}")[1] in text] == [
            one for one in told if any(one.split("{}")[1] in line for line in expected)
        ]
        assert all(line in text for line in expected) and "\n\n\n" not in text
        assert ("went through" in text) is (len(stages) > 1)


def test_every_dataset_of_a_chain_is_told(card: Any) -> None:
    stages = [_stage("first", ["one"], []), _stage("second", ["two"], ["people"])]
    text = card([], stages=stages)
    assert "| on-first | sft | first | one | none |\n| on-second | sft | second | two | people |\n" in text


def test_a_card_above_another_export_tells_what_it_stands_on(card: Any) -> None:
    stages = [_stage("first", ["one"], []), {**_stage("second", ["two"], []), "on_export": "early"}]
    changes = {"base": "export early", "stands_on": {"export": "early", "model": "smollm2"}, "stages": stages}
    text = card([], adapter_gguf=True, **changes)
    assert (
        "An adapter on the merged model of export `early` (at the bottom of it is the model `smollm2`), built" in text
    )
    assert (
        "| on-second (a new one on export early, merged) | sft | second |" in text
        and "| on-first | sft | first |" in text
    )
    assert "`llama-server --jinja -m early-f16.gguf --lora mixed-adapter.gguf`" in text
    assert "--lora" not in card([], **changes) and "merged model of export" not in card([])


def test_what_ollama_does_otherwise_is_a_limit(card: Any, tmp_path: Path) -> None:
    file = tmp_path / "Modelfile"
    file.write_text(with_warnings("FROM ./x.gguf\n", ["tools: not laid out", "white space: kept"]))
    text = card([], CardSources(modelfile=file))
    limits = text[text.index("## Limits") : text.index("## Licences")]
    assert "- In Ollama, tools: not laid out.\n- In Ollama, white space: kept.\n" in limits


def test_the_upload_leaves_the_records_behind(card: Any) -> None:
    (line,) = [line for line in card([]).splitlines() if "hf upload" in line]
    pattern = line.partition('--exclude "')[2].partition('"')[0]
    files = ["README.md", "Modelfile", "x-Q8_0.gguf", "merged/model.safetensors"]
    kept = filter_repo_objects([*files, "README.md.record.json", "merged/record.json"], ignore_patterns=[pattern])
    assert list(kept) == files


def _more(tmp_path: Path) -> CardSources:
    """What was measured of the export, as the rules write it."""
    fidelity = {
        "rows": {"test": 3, "valid": 1}, "places": 90, "min_top1": 0.9, "min_kept": 0.8, "control": None,
        "reference": {"dtype": "float32", "perplexity_adapter": 2.5, "perplexity_base": 6.0},
        "files": [
            {"quant": "Q8_0", "file": "mixed-Q8_0.gguf", "size": 9, "kl": 0.1, "top1": 0.8, "perplexity": 2.6,
             "kept": None, "noise": 0.3}
        ],
        "warnings": ["Q8_0: the most likely token is the adapter's in 0.800 of 90 places, below 0.9"],
    }  # fmt: skip
    marks = {"capped": 0.75, "capped_interval": [0.5, 0.9], "n": 12}
    report = {
        "evaluation": "framework", "order": ["gold", "student"],
        "sets": {"plans": {"place": 0, "role": "target"}, "every|day": {"place": 1, "role": "forgetting"}},
        "subjects": {
            "gold": {"adapter": None, "markers": {"plans": {**marks, "capped": 1.0}}},
            "student": {"adapter": "mixed", "markers": {"plans": marks, "every|day": {**marks, "capped_interval": None}}},
        },
        "gates": {"checks": [
            {"gate": "leakage", "subject": "student", "observed": 0.75, "direction": "at most", "bound": 0.15, "passed": False}
        ]},
        "headline": {"warnings": ["One judge only."]},
    }  # fmt: skip
    adapter = {"files": {"adapter_model.safetensors": {"sha256": "cd" * 32}}, "base": {"model.safetensors": "ef" * 32}}
    merged = {"files": {"model.safetensors": {"sha256": "12" * 32, "size": 7}}}
    written = {"fidelity": fidelity, "report": report, "adapter": adapter, "merged": merged}
    for name, value in written.items():
        (tmp_path / f"more-{name}.json").write_text(json.dumps(value))
    paths = {name: tmp_path / f"more-{name}.json" for name in written}
    return CardSources(paths["merged"], paths["adapter"], paths["fidelity"], [paths["report"]])


def test_what_was_measured_is_told(card: Any, tmp_path: Path) -> None:
    text = card([], _more(tmp_path))
    assert "| Q8_0 | 9 | 0.1000 | 0.8000 | 2.6000 | none | 0.3000 |" in text
    assert (
        "| subject | plans (target) | n | every\\|day (forgetting) | n |\n| --- | ---: | ---: | ---: | ---: |\n" in text
    )
    assert "| gold | 1.000 (0.50 to 0.90) | 12 | none | 0 |\n" in text
    assert "| **student** | 0.750 (0.50 to 0.90) | 12 | 0.750 | 12 |\n" in text
    assert "\n\n- gate leakage, student: failed (0.75, wanted at most 0.15)\n" in text
    assert f"| adapter, adapter_model.safetensors | {'cd' * 32} |\n| base, model.safetensors | {'ef' * 32} |\n" in text
    assert f"| merged/model.safetensors | 7 | {'12' * 32} |" in text
    limits = text[text.index("## Limits") : text.index("## Licences")]
    assert "- Rounding: Q8_0: the most likely token is the adapter's in 0.800 of 90 places, below 0.9.\n" in limits
    assert "gate leakage failed (0.75, wanted at most 0.15)" in limits and "One judge only." in limits
    assert "\n\n\n" not in text


def test_the_hub_reads_the_scores(card: Any, tmp_path: Path) -> None:
    card([], _more(tmp_path))
    results = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert [(one.dataset_name, one.metric_name, one.metric_value) for one in results] == [
        ("framework: plans", "capped marker score, student", 0.75),
        ("framework: every|day", "capped marker score, student", 0.75),
    ]


def test_what_was_not_measured_is_told_as_well(card: Any, tmp_path: Path) -> None:
    text = card([])
    assert "was not measured" in text and "It was not evaluated." in text
    assert "## Fidelity" not in text and "## Evaluation" not in text and "\n\n\n" not in text
    assert "model-index" not in ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert "ollama create mixed -f Modelfile" in text
