"""The dataset card as the hub and `datasets` read it: front matter, splits, flow, licences."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import DatasetCard

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.card import write_dataset_card
from stillhouse.datasets.settings import BuildSettings, CardSettings

FRONT = {"license": "apache-2.0", "language": ["en"]}
TERMS = {"training": True, "commercial": None, "share_alike": False, "note": "https://example.org/terms"}
PARTIES = [
    {"key": "prompts.plans", "part": "prompts", "licence": "apache-2.0", "terms": {**TERMS, "note": None}},
    {"key": "models.teacher", "part": "teacher, judge", "licence": None, "terms": TERMS},
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = str(tmp_path_factory.mktemp("hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def build(house: Any, folder: Path, dataset: dict, rows: list[dict], front: dict | None = None) -> DatasetCard:
    """Build a dataset of one source and its card below `folder`; the card as the hub's library loads it."""
    answers = {"plans": house.write_answers(folder / "plans.parquet", rows)}
    recipe = {"name": "mixed", "dataset": {"sources": [{"generation": "plans"}], **dataset}}
    build_dataset(BuildSettings.model_validate(recipe), answers, [], folder / "out")
    settings = CardSettings.model_validate({**recipe, "front": front or FRONT, "parties": PARTIES})
    write_dataset_card(settings, folder / "out/report.json", folder / "out/README.md")
    return DatasetCard.load(folder / "out/README.md")


def answers(house: Any, count: int = 20) -> list[dict]:
    rows = [house.answer_row(house.distinct_prompt(n), f"A sound answer, number {n}.") for n in range(count)]
    return [*rows, house.answer_row("A very short one", "Short.")]


def test_front_matter(house: Any, tmp_path: Path) -> None:
    card = build(house, tmp_path, {"sources": [{"generation": "plans", "filters": [{"min_words": 3}]}]}, answers(house))
    assert card.data.license == "apache-2.0" and card.data.language == ["en"]
    assert card.data.tags[:3] == ["stillhouse", "trl", "sft"] and card.data.size_categories == ["n<1K"]
    assert card.data.to_dict()["configs"][0]["data_files"][1] == {"split": "validation", "path": "valid.parquet"}
    assert card.data.pretty_name == "mixed" and card.data.task_categories == ["text-generation"]
    assert "\n\n\n" not in card.content


@pytest.mark.parametrize(
    "front",
    [
        {"license": "other", "license_name": 'by letter: "as agreed" # not a comment'},
        {"license": ["mit", "other"], "license_name": "on request"},
        {"license": "unknown"},
    ],
)
def test_any_licence_is_valid_front_matter(house: Any, tmp_path: Path, front: dict) -> None:
    found = build(house, tmp_path, {}, answers(house), front).data.to_dict()
    assert {key: found[key] for key in front} == front


def test_flow_is_shown_as_a_table(house: Any, tmp_path: Path) -> None:
    text = build(
        house, tmp_path, {"sources": [{"generation": "plans", "filters": [{"min_words": 3}]}]}, answers(house)
    ).text
    for told in ("| plans | 21 | 20 | the rest | 1.000 |", "| min_words: 3 | 1 |",
                 "| filters, answers | plans | 21 | 20 | min_words 1 |", "| duplicates, answers | all | 20 | 20 | none |",
                 "| mix, answers | all | 20 | 20 | none |", "| splits, answers | all | 20 | 20 | none |"):  # fmt: skip
        assert told in text


def test_licences_and_terms_of_the_parties_are_told(house: Any, tmp_path: Path) -> None:
    text = build(house, tmp_path, {}, answers(house)).text
    assert "Licence of this dataset: apache-2.0." in text
    assert "| prompts.plans | prompts | apache-2.0 | yes | not said | no |  |" in text
    assert "| models.teacher | teacher, judge | unknown | yes | not said | no | https://example.org/terms |" in text


def test_signs_of_markdown_in_a_licence_stay_in_their_cell(house: Any, tmp_path: Path) -> None:
    front = {"license": "other", "license_name": "odd"}
    odd = [{**PARTIES[0], "licence": "a|b <script>alert(1)</script>"}]
    answered = {"plans": house.write_answers(tmp_path / "plans.parquet", answers(house))}
    recipe = {"name": "mixed", "dataset": {"sources": [{"generation": "plans"}]}}
    build_dataset(BuildSettings.model_validate(recipe), answered, [], tmp_path / "out")
    settings = CardSettings.model_validate({**recipe, "front": front, "parties": odd})
    write_dataset_card(settings, tmp_path / "out/report.json", tmp_path / "out/README.md")
    text = (tmp_path / "out/README.md").read_text()
    assert "| a\\|b &lt;script>alert(1)&lt;/script> |" in text


def test_the_card_names_the_splits_that_have_rows(house: Any, tmp_path: Path) -> None:
    rows = [house.answer_row(house.distinct_prompt(n)) for n in range(20)]
    for train, expected in ((0.9, {"train": 18, "validation": 2}), (0.8, {"train": 16, "validation": 2, "test": 2})):
        folder = tmp_path / str(train)
        build(house, folder, {"split": {"train": train, "valid": 0.1}}, rows)
        loaded = datasets.load_dataset(str(folder / "out"))
        assert {name: len(split) for name, split in loaded.items()} == expected


def test_an_empty_dataset_and_a_warning_have_a_card(house: Any, tmp_path: Path) -> None:
    card = build(house, tmp_path, {}, [])
    assert card.data.to_dict()["configs"]
    assert "- the train split is empty: nothing can be trained on this dataset" in card.text
