"""Adapters on the merged model of an export: their files and recipes, what is refused, and what reaches down the chain."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.bases import base_model, trained_in_turn, trained_on
from stillhouse.study.cards import model_card
from stillhouse.study.families import family_of_subject
from stillhouse.study.licences import causes, export_licence, export_parties
from stillhouse.study.plan import Plan, load_plan
from stillhouse.study.records import study_records
from stillhouse.study.study import Study

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SUBJECTS = {"peft": {"adapter": "three"}, "base": {"export": "three", "serve": "gguf-adapter"}}


def study(**changes: dict[str, Any]) -> dict[str, Any]:
    """The default study with adapter and export two on the export mixed, three on two; `changes` by adapter or export."""
    found = copy.deepcopy(DEFAULT)
    shape = found["adapters"]["mixed"]
    for name, below in (("two", "mixed"), ("three", "two")):
        found["adapters"][name] = {**copy.deepcopy(shape), "base": {"export": below}, "dataset": "plain"}
        found["exports"][name] = {"adapter": name, "quants": ["Q8_0"], "adapter_gguf": True}
    for name, subject in SUBJECTS.items():
        found["evaluations"]["framework"]["subjects"][name] = subject
    for name, changed in changes.items():
        section, _, entry = name.partition("_")
        found[section].setdefault(entry, {}).update(changed)
    return found


def planned(found: dict[str, Any]) -> Plan:
    return load_plan(found, ROOT, ROOT)


def faults(found: dict[str, Any]) -> str:
    with pytest.raises(StudyError) as caught:
        planned(found)
    return str(caught.value)


# files and recipes


def test_the_base_is_the_merged_folder_of_the_export() -> None:
    files = planned(study()).base_files("three")
    assert files.weights == "results/exports/two/merged/model.safetensors"
    assert files.digests == "results/exports/two/merged/digests.json"
    assert files.shape == "results/exports/two/merged/config.json"
    assert (files.gguf, files.gguf_digests) == (
        "results/exports/two/two-f16.gguf",
        "results/exports/two/digests/f16.json",
    )
    files = planned(study()).base_files("mixed")
    assert (files.weights, files.gguf) == (
        "results/models/smollm2/model.safetensors",
        "results/models/smollm2/model.gguf",
    )
    assert files.gguf_digests == "results/models/smollm2/gguf.digests.json"


def test_subjects_are_served_on_that_base() -> None:
    plan = planned(study())
    assert plan.subject_weights("framework", "peft")[0] == "results/exports/two/merged/model.safetensors"
    assert plan.inputs_subject("framework", "peft")["digests"][0] == "results/exports/two/merged/digests.json"
    assert plan.subject_weights("framework", "base")[0] == "results/exports/two/two-f16.gguf"
    assert plan.inputs_subject("framework", "base")["digests"][0] == "results/exports/two/digests/f16.json"
    assert plan.recipe_subject("framework", "base")["context"] == DEFAULT["models"]["smollm2"]["context"]


def test_recipes_name_the_export_and_those_of_other_adapters_stay() -> None:
    plan, before = planned(study()), planned(DEFAULT)
    assert plan.recipe_adapter("three")["base"] == plan.recipe_export("three")["base"] == "export two"
    assert plan.recipe_export("three")["context"] == before.recipe_export("mixed")["context"]
    assert plan.recipe_adapter("mixed")["base"] == "smollm2"
    for recipe in ("recipe_export", "recipe_card", "recipe_fidelity"):
        assert canonical_json(getattr(plan, recipe)("mixed")) == canonical_json(getattr(before, recipe)("mixed"))
    assert not {"stands_on", "on_export"} & set(json.dumps(before.recipe_card("mixed")).split('"'))


def test_records_know_no_model_of_an_exports_name() -> None:
    records = study_records(planned(study()))
    assert "results/exports/two/merged/record.json" in records and "results/adapters/three/record.json" in records
    models = {record.split("/")[2] for record in records if record.startswith("results/models/")}
    assert models <= set(DEFAULT["models"])


# what is refused


def test_an_export_that_is_not_there() -> None:
    assert "adapters.two.base.export: no 'mixd' in exports; did you mean 'mixed'?" in faults(
        study(adapters_two={"base": {"export": "mixd"}})
    )


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (3, ["adapters.two.base: expected text or a mapping", "found 3"]),
        ({"exprt": "mixed"}, ["adapters.two.base.exprt: unknown key", "'export'", "adapters.two.base.export: missing"]),
        ({}, ["adapters.two.base.export: missing; expected name of an export"]),
        ({"export": "../mixed"}, ["adapters.two.base.export: expected a name", "'../mixed'"]),
        ("mixed", ["adapters.two.base: no 'mixed' in models"]),
    ],
    ids=["number", "misspelt", "empty", "path", "export without its key"],
)
def test_what_is_no_base(base: Any, words: list[str]) -> None:
    told = faults(study(adapters_two={"base": base}))
    assert not [word for word in words if word not in told], told
    assert "constrained" not in told and "MergedExport" not in told


def test_an_adapter_on_an_export_of_itself() -> None:
    told = faults(study(adapters_mixed={"base": {"export": "mixed"}}))
    assert "adapters.mixed.base.export: adapters.mixed -> exports.mixed -> adapters.mixed goes in a ring" in told
    assert told.count("goes in a ring") == 1  # those above are not part of it


def test_a_ring_through_exports_and_init_names_the_way() -> None:
    told = faults(study(adapters_mixed={"init": "three"}))
    way = "adapters.mixed -> adapters.three -> exports.two -> adapters.two -> exports.mixed -> adapters.mixed"
    assert f"adapters.mixed.init: {way} goes in a ring" in told
    assert told.count("goes in a ring") == 3
    far = study(adapters_mixed={"base": {"export": "three"}})
    assert "adapters.three.base.export: adapters.three -> exports.two -> adapters.two -> exports.mixed" in faults(far)


def test_init_needs_the_same_base() -> None:
    told = faults(study(adapters_three={"init": "two"}))
    assert "adapters.three.init: 'two' has base export mixed, this adapter has export two" in told
    told = faults(study(adapters_three={"init": "two", "base": "smollm2"}))
    assert "adapters.three.init: 'two' has base export mixed, this adapter has smollm2" in told
    planned(study(adapters_three={"init": "two", "base": {"export": "mixed"}}))


def test_init_compares_targets_as_sets() -> None:
    base, targets = {"export": "mixed"}, ["q_proj", "v_proj"]
    lora = {"rank": 16, "alpha": 32}
    changed = {
        "adapters_two": {"lora": {**lora, "targets": targets}},
        "adapters_three": {"init": "two", "base": base, "lora": {**lora, "targets": targets[::-1]}},
    }
    planned(study(**changed))
    changed["adapters_two"]["lora"]["targets"] = ["q_proj"]
    assert "'two' has lora.targets ['q_proj'], this adapter has ['v_proj', 'q_proj']" in faults(study(**changed))


PREFERRED = {"objective": "orpo", "dataset": "preferences"}


def test_sft_above_a_preference_trained_stage_is_asked_for() -> None:
    found = study(adapters_mixed=PREFERRED)
    told = faults(found)
    for name in ("two", "three"):
        assert f"adapters.{name}.base.export: SFT on top of 'mixed', which was trained by orpo" in told
    assert "8.8 to 2.0" in told and "accept_collapse" in told
    for name in ("two", "three"):
        found["adapters"][name]["accept_collapse"] = True
    assert planned(found).recipe_adapter("two") == planned(study()).recipe_adapter("two")


def test_sft_above_a_preference_trained_stage_is_found_through_init_too() -> None:
    found = study(adapters_two={**PREFERRED, "base": "smollm2", "init": "mixed"})
    told = faults(found)
    assert "adapters.three.base.export: SFT on top of 'two', which was trained by orpo" in told
    found = study(adapters_mixed=PREFERRED, adapters_two={"accept_collapse": True})
    found["adapters"]["three"].update(base={"export": "mixed"}, init="two")
    assert "adapters.three.init: SFT on top of 'mixed'" in faults(found)


# what reaches down


def test_the_chain_goes_down_to_the_model() -> None:
    found = Study.model_validate(study(adapters_three={"init": "two", "base": {"export": "mixed"}}))
    assert trained_in_turn(found, "three") == ["mixed", "two", "three"]
    found = Study.model_validate(study())
    assert trained_in_turn(found, "three") == ["mixed", "two", "three"]
    assert trained_on(found, "three") == ["mixed", "plain"]
    assert base_model(found, "three") == "smollm2"


SECRET = {
    "backend": "openai", "base_url": "http://a/v1", "model": "m", "licence": "mit", "terms": {"training": False}
}  # fmt: skip


def test_terms_of_data_below_stop_the_export_above() -> None:
    found = study(models_secret=SECRET)
    found["generations"]["stolen"] = {"prompts": "everyday", "model": "secret"}
    found["datasets"]["stolen"] = {"format": "sft", "sources": [{"generation": "stolen"}]}
    found["adapters"]["mixed"]["dataset"] = "stolen"
    whole = Study.model_validate(found)
    for name in ("mixed", "two", "three"):
        assert "models.secret:no-training" in {cause.name for cause in causes(whole, name)}
    assert "exports.three: it may not be shipped as it is" in faults(found)
    base, *behind = export_parties(whole, "three")
    assert (base.key, base.part) == ("models.smollm2", "base")
    assert len({party.key for party in behind}) == len(behind)


def test_the_licence_is_that_of_the_base_below() -> None:
    found = study(exports_mixed={"licence": "cc-by-4.0"})
    assert export_licence(Study.model_validate(found), "three") == "cc-by-4.0"
    found["exports"]["two"]["licence"] = "mit"
    assert export_licence(Study.model_validate(found), "three") == "mit"
    assert export_licence(Study.model_validate(study()), "three") == "apache-2.0"


def test_the_card_names_model_export_and_every_stage() -> None:
    card = model_card(Study.model_validate(study()), "three")
    assert card["front"]["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert card["front"]["datasets"] == ["mixed", "plain"]
    assert card["stands_on"] == {"export": "two", "model": "smollm2"}
    assert [stage["adapter"] for stage in card["stages"]] == ["mixed", "two", "three"]
    assert [stage.get("on_export") for stage in card["stages"]] == [None, "mixed", "two"]


def test_family_and_contamination_follow_the_chain() -> None:
    plan = planned(study())
    report = plan.recipe_report("framework")
    assert report["families"]["peft"] == report["families"]["base"] == "smollm"
    assert report["datasets"]["peft"] == ["mixed", "plain"]
    assert "results/datasets/mixed/train.parquet" in plan.trained_files("framework")
    entry = plan.evaluation("framework").subjects["base"]
    assert family_of_subject(plan.study, entry) == "smollm"
