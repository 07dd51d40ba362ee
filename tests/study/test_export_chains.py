"""What an export is made of reaches back through every adapter that its own goes on from, and to rejected answers."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.study.licences import causes, export_parties, trained_on
from stillhouse.study.plan import load_plan
from stillhouse.study.study import Study

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SECRET = {
    "backend": "openai", "base_url": "http://localhost/v1", "model": "m", "licence": "mit", "terms": {"training": False}
}  # fmt: skip


def study() -> dict[str, Any]:
    """The default study with a model that may not be trained on, a generation by it, and a dataset of that."""
    found = copy.deepcopy(DEFAULT)
    found["models"]["secret"] = copy.deepcopy(SECRET)
    found["generations"]["stolen"] = {"prompts": "everyday", "model": "secret"}
    found["datasets"]["stolen"] = {"format": "sft", "sources": [{"generation": "stolen"}]}
    return found


def adapters(found: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """`more` adapters shaped as that of the export `mixed`, whose export then ships the last of them."""
    shape = found["adapters"][found["exports"]["mixed"]["adapter"]]
    for name, changes in more.items():
        found["adapters"][name] = {**copy.deepcopy(shape), **changes}
        found["exports"]["mixed"]["adapter"] = name
    return found


def chained(length: int) -> dict[str, Any]:
    """An adapter on the stolen data, and `length` more that each go on from the one before."""
    chain = {
        f"step{number}": {"init": f"step{number - 1}" if number > 1 else "first"} for number in range(1, length + 1)
    }
    return adapters(study(), first={"dataset": "stolen"}, **chain)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_terms_of_data_behind_the_start_of_a_training_stop_the_export(length: int) -> None:
    found = chained(length)
    assert [cause.name for cause in causes(Study.model_validate(found), "mixed")] == ["models.secret:no-training"]
    with pytest.raises(StudyError, match=r"models\.secret may not be trained on"):
        load_plan(found, ROOT, ROOT)
    found["exports"]["mixed"]["accept_terms"] = ["models.secret:no-training"]
    card = load_plan(found, ROOT, ROOT).recipe_card("mixed")
    assert card["front"]["datasets"] == (["stolen", "mixed"] if length else ["stolen"])
    assert [stage["dataset"] for stage in card["stages"]] == ["stolen", *["mixed"] * length]
    assert card["stages"][0]["by_models"] == ["stolen"]


def test_models_of_rejected_answers_are_parties() -> None:
    found = study()
    found["generations"]["stolen"]["prompts"] = "contested"
    found["datasets"]["against"] = copy.deepcopy(found["datasets"]["preferences"])
    found["datasets"]["against"]["pairs"] = {"rejected": [{"generation": "stolen"}, "losers"]}
    adapters(found, dpo={"dataset": "against", "objective": "dpo"})
    parties = {party.key: party.part for party in export_parties(Study.model_validate(found), "mixed")}
    assert parties["models.secret"] == "teacher" and "prompts.contested" in parties
    with pytest.raises(StudyError, match=r"models\.secret:no-training"):
        load_plan(found, ROOT, ROOT)


def test_partners_routes_and_writers_of_prompts_are_parties() -> None:
    found = study()
    found["generations"]["stolen"].update(model="smollm2", method="dialogue", dialogue={"partner": "secret"})
    adapters(found, only={"dataset": "stolen"})
    routed, expanded = copy.deepcopy(found), copy.deepcopy(found)
    for one in (routed, expanded):
        one["generations"]["stolen"] = {"prompts": "everyday", "model": "smollm2"}
    routed["generations"]["stolen"]["routes"] = [{"category": ["any"], "models": ["smollm2", "secret"]}]
    expansion = {"templates": "a", "domains": ["b"], "model": "secret"}
    expanded["prompts"]["everyday"] = {"expand": expansion, "licence": "mit"}
    for one, part in ((found, "partner"), (routed, "teacher"), (expanded, "prompts")):
        parties = {party.key: party.part for party in export_parties(Study.model_validate(one), "mixed")}
        assert parties["models.secret"] == part


def test_a_party_of_several_datasets_stands_once_with_all_its_parts() -> None:
    found = chained(1)
    found["generations"]["contested"]["roles"] = {"judges": ["secret"]}
    parties = export_parties(Study.model_validate(found), "mixed")
    keys = [party.key for party in parties[1:]]
    assert len(keys) == len(set(keys))
    assert {party.key: party.part for party in parties}["models.secret"] == "teacher, judge"


def test_a_ring_is_named_and_does_not_hang() -> None:
    found = adapters(study(), one={"init": "two"}, two={"init": "one"})
    assert trained_on(Study.model_validate(found), "two") == ["mixed"]
    with pytest.raises(StudyError, match="goes in a ring"):
        load_plan(found, ROOT, ROOT)


@pytest.mark.parametrize("dataset", ["nowhere", "stolen"])
def test_a_chain_with_a_missing_name_is_a_fault_of_the_study(dataset: str) -> None:
    found = adapters(study(), first={"dataset": dataset}, second={"init": "first"})
    if dataset == "stolen":
        del found["generations"]["stolen"]
    with pytest.raises(StudyError, match=r"nowhere|stolen"):
        load_plan(found, ROOT, ROOT)
