"""What licences permit, how the hub names them, and what stands against an export."""

import copy
from pathlib import Path

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.study.base import Terms
from stillhouse.study.licences import (
    HUB_NAMES,
    PERMITS,
    Party,
    causes,
    export_parties,
    front_matter,
    hub_licence,
)
from stillhouse.study.plan import load_plan
from stillhouse.study.study import Study

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
API = {"backend": "openai", "base_url": "http://localhost/v1", "model": "m"}


def study(**parts: dict) -> dict:
    """The default study with a foreign teacher; `parts` are laid over prompts.plans, models.teacher and exports.mixed."""
    found = copy.deepcopy(DEFAULT)
    found["models"]["teacher"] = {**API, "licence": "mit", **parts.get("teacher", {})}
    found["generations"]["contested"]["roles"] = {"judges": ["teacher"]}
    found["prompts"]["plans"].update(parts.get("plans", {}))
    found["models"]["smollm2"].update(parts.get("base", {}))
    found["exports"]["mixed"].update(parts.get("export", {}))
    return found


def names(**parts: dict) -> list[str]:
    """Everything that stands against the export, accepted or not."""
    return [cause.name for cause in causes(Study.model_validate(study(**parts)), "mixed")]


CASES = {
    "nothing": ({}, []),
    "no licence": ({"plans": {"licence": None}}, ["prompts.plans:unknown"]),
    "licence that nobody reads": ({"plans": {"licence": "see the contract"}}, ["prompts.plans:unknown"]),
    "restricted uses": ({"base": {"licence": "llama3.1"}}, ["models.smollm2:unknown"]),
    "a word of the study": ({"teacher": {"licence": "see the contract", "terms": {"training": True}}}, []),
    "terms alone": ({"teacher": {"licence": None, "terms": {"training": True}}}, []),
    "forbidden by terms": ({"teacher": {"terms": {"training": False}}}, ["models.teacher:no-training"]),
    "no derivatives": ({"plans": {"licence": "CC-BY-ND-4.0"}}, ["prompts.plans:no-training"]),
    "no derivatives, but agreed": ({"plans": {"licence": "CC-BY-ND-4.0", "terms": {"training": True}}}, []),
    "non-commercial": ({"plans": {"licence": "cc-by-nc-4.0"}}, ["prompts.plans:non-commercial"]),
    "non-commercial export": ({"plans": {"licence": "cc-by-nc-4.0"}, "export": {"licence": "cc-by-nc-4.0"}}, []),
    "non-commercial export of another name": (
        {"plans": {"licence": "cc-by-nc-4.0"}, "export": {"licence": "research only"}},
        ["prompts.plans:non-commercial"],
    ),
    "non-commercial base": ({"base": {"licence": "cc-by-nc-4.0"}}, []),
    "share alike": ({"plans": {"licence": "CC-BY-SA-4.0"}}, ["prompts.plans:share-alike"]),
    "shared alike": ({"plans": {"licence": "CC-BY-SA-4.0"}, "export": {"licence": "cc-by-sa-4.0"}}, []),
    "share alike by terms": ({"teacher": {"terms": {"share_alike": True}}}, ["models.teacher:share-alike"]),
    "two at once": (
        {"plans": {"licence": "cc-by-nc-sa-4.0"}},
        ["prompts.plans:non-commercial", "prompts.plans:share-alike"],
    ),
    "base and teacher in one": ({"base": {"terms": {"training": False}}}, ["models.smollm2:no-training"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_against_an_export(case: str) -> None:
    parts, expected = CASES[case]
    assert names(**parts) == expected


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1]])
def test_planning_stops_names_every_cause_and_takes_the_acceptance_that_it_names(case: str) -> None:
    parts, expected = CASES[case]
    with pytest.raises(StudyError) as caught:
        load_plan(study(**parts), ROOT, ROOT)
    line = f"`exports.mixed.accept_terms: [{', '.join(expected)}]`"
    assert line in str(caught.value)
    pasted = yaml.safe_load(line.strip("`").removeprefix("exports.mixed."))
    plan = load_plan(study(**{**parts, "export": {**parts.get("export", {}), **pasted}}), ROOT, ROOT)
    assert [one["name"] for one in plan.recipe_card("mixed")["accepted"]] == expected


def test_accepting_one_cause_leaves_the_others() -> None:
    parts = {"plans": {"licence": "cc-by-nc-sa-4.0"}, "export": {"accept_terms": ["prompts.plans:share-alike"]}}
    with pytest.raises(StudyError, match="not for commercial use") as caught:
        load_plan(study(**parts), ROOT, ROOT)
    assert "shared alike" not in str(caught.value)
    assert "accept_terms: [prompts.plans:share-alike, prompts.plans:non-commercial]" in str(caught.value)


def test_an_acceptance_that_is_not_needed_does_not_reach_the_card() -> None:
    plan = load_plan(study(export={"accept_terms": ["models.teacher:no-training"]}), ROOT, ROOT)
    assert plan.recipe_card("mixed")["accepted"] == []


def test_a_study_without_exports_needs_no_licence() -> None:
    found = study(plans={"licence": None})
    del found["exports"], found["evaluations"]["framework"]["subjects"]["packed"]
    load_plan(found, ROOT, ROOT)


def test_every_model_that_a_generation_asks_is_a_party_with_its_roles() -> None:
    parties = {party.key: party.part for party in export_parties(Study.model_validate(study()), "mixed")[1:]}
    assert parties["models.teacher"] == "judge"
    assert parties["models.smollm2"] == "teacher, critic, author, synthesizer"
    assert [key for key in parties if key.startswith("prompts.")] == [
        "prompts.contested",
        "prompts.plans",
        "prompts.everyday",
    ]


@pytest.mark.parametrize(
    ("given", "hub"),
    [
        ("Apache-2.0", "apache-2.0"), ("GPL-3.0-or-later", "gpl-3.0"), ("AGPL-3.0-only", "agpl-3.0"), (" MIT ", "mit"),
        ("llama3.1", "llama3.1"), ("Apache 2", None), ("", None), (None, None), ("proprietary", None),
    ],
)  # fmt: skip
def test_spdx_and_hub_names(given: str | None, hub: str | None) -> None:
    assert hub_licence(given) == hub


def test_front_matter_is_what_the_hub_takes() -> None:
    assert front_matter(["MIT"]) == {"license": "mit"}
    assert front_matter([None]) == {"license": "unknown"}
    assert front_matter(["by letter"]) == {"license": "other", "license_name": "by letter"}
    assert front_matter(["MIT", "mit", "by letter", None, "on request"]) == {
        "license": ["mit", "other", "unknown"], "license_name": "by letter, on request",
    }  # fmt: skip
    assert {"other", "unknown"}.isdisjoint(HUB_NAMES)


def test_terms_of_the_study_win_over_those_of_the_licence() -> None:
    party = Party("models.m", "teacher", "cc-by-nc-4.0", Terms(commercial=True, note="agreed by letter"))
    assert party.resolved() == Terms(training=True, commercial=True, share_alike=False, note="agreed by letter")


def test_every_licence_that_is_read_says_all_three() -> None:
    assert all(None not in (t.training, t.commercial, t.share_alike) for t in PERMITS.values())
    assert all(t.commercial is ("-nc" not in name) for name, t in PERMITS.items())
    assert all(t.training is ("-nd" not in name) for name, t in PERMITS.items())
    assert all(t.share_alike for name, t in PERMITS.items() if "-sa" in name or "gpl" in name)


def answered(**entry: object) -> dict:
    """The default study, whose export is trained on answers of files too."""
    found = study()
    found["answers"] = {"pairs": {"file": "data/replay/answers.jsonl", **entry}}
    found["datasets"]["mixed"]["sources"].append({"generation": "pairs", "share": 0.1})
    return found


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, ["answers.pairs:unknown"]),
        ({"licence": "mit"}, []),
        ({"licence": "cc-by-nc-4.0"}, ["answers.pairs:non-commercial"]),
        ({"licence": "mit", "terms": {"training": False}}, ["answers.pairs:no-training"]),
    ],
    ids=str,
)
def test_answers_of_files_are_a_party_of_exports(entry: dict, expected: list[str]) -> None:
    found = answered(**entry)
    assert [cause.name for cause in causes(Study.model_validate(found), "mixed")] == expected
    parties = export_parties(Study.model_validate(found), "mixed")
    assert [(one.key, one.part) for one in parties if one.key.startswith("answers.")] == [
        ("answers.pairs", "prompts and answers")
    ]
    if not expected:
        load_plan(found, ROOT, ROOT)
        return
    with pytest.raises(StudyError, match=r"answers\.pairs"):
        load_plan(found, ROOT, ROOT)
    found["exports"]["mixed"]["accept_terms"] = [*found["exports"]["mixed"].get("accept_terms", []), *expected]
    load_plan(found, ROOT, ROOT)


def test_languages_of_answers_stand_in_the_cards() -> None:
    front = load_plan(answered(licence="mit", language="de"), ROOT, ROOT).recipe_card("mixed")["front"]
    assert front["language"] == ["de", "en"]
