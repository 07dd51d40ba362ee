"""What check, report and cost report of a generation are told by the study, and what they refuse."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.study import generation_reports
from stillhouse.study.plan import load_plan
from stillhouse.study.records import study_records

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
JUDGE = {"backend": "openai", "base_url": "http://localhost/v1", "model": "outsider-1", "licence": "mit"}
FULL = {**DEFAULT, "models": {**DEFAULT["models"], "outsider": JUDGE}}
FULL["generations"]["contested"].pop("external_check")


def with_check(**check: Any) -> dict[str, Any]:
    study = copy.deepcopy(FULL)
    study["generations"]["contested"]["external_check"] = {"judges": ["outsider"], **check}
    return study


def told(study: dict[str, Any], name: str = "contested") -> dict[str, Any]:
    """Everything that the three jobs of a generation are told."""
    plan = load_plan(study, ROOT, ROOT)
    found = {
        "report": generation_reports.recipe_generation_report(plan, name),
        "cost": generation_reports.recipe_cost(plan, name),
        "files": generation_reports.check_file(plan, name),
        "sources": generation_reports.check_sources(plan, name),
    }
    if name in generation_reports.checked(plan):
        found["check"] = generation_reports.recipe_check(plan, name)
    return found


def test_there_is_a_check_only_where_one_is_asked_for() -> None:
    plan = load_plan(with_check(), ROOT, ROOT)
    assert generation_reports.checked(plan) == ["contested"]
    assert generation_reports.checked(load_plan(FULL, ROOT, ROOT)) == []
    assert generation_reports.check_file(plan, "plans") == []
    check = "results/generations/contested/check.parquet.record.json"
    records = study_records(plan)
    assert check in records
    assert set(study_records(load_plan(FULL, ROOT, ROOT))) == set(records) - {check}


@pytest.mark.parametrize("values", [{"limit": 4}, {"judging": {"max_tokens": 7}}, {"judges": ["smollm2"]}], ids=str)
def test_what_the_check_depends_on(values: dict[str, Any]) -> None:
    before, after = told(with_check()), told(with_check(**values))
    assert before["check"] != after["check"]


def test_the_order_of_judges_and_their_repeats_do_not_matter() -> None:
    one, two = with_check(judges=["smollm2", "outsider"]), with_check(judges=["outsider", "smollm2", "outsider"])
    assert told(one) == told(two)


def test_a_price_changes_the_cost_report_and_nothing_else() -> None:
    before, study = told(with_check()), with_check()
    study["models"]["outsider"] = {**JUDGE, "price": {"input": 1.0, "output": 2.0}}
    after = told(study)
    assert [name for name in before if before[name] != after[name]] == ["cost"]
    assert after["cost"]["models"] == [
        {"name": "outsider", "backend": "openai", "model": "outsider-1", "price": {"input": 1.0, "output": 2.0}},
        {"name": "smollm2", "backend": "llama_cpp", "context": 2048, "price": None},
    ]


@pytest.mark.parametrize(
    "values",
    [{"limits": {"concurrency": 3}}, {"timeout_s": 3.0}, {"base_url": "http://other/v1"}, {"api_key_env": "K"}],
)
def test_other_operational_settings_change_nothing(values: dict[str, Any]) -> None:
    study = with_check()
    study["models"]["outsider"] = {**JUDGE, **values}
    assert told(study) == told(with_check())


def test_the_judges_template_and_recorded_answers_are_sources(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text('{"prompt": "p", "response": "r"}\n')
    study = with_check(judges=["tape"])
    study["models"]["tape"] = {"backend": "recorded", "file": str(recorded)}
    assert told(study)["sources"] == ["data/judging/pairwise.j2", str(recorded)]


@pytest.mark.parametrize(
    ("generation", "check", "words"),
    [
        ("contested", {"judges": ["outsidr"]}, ["generations.contested.external_check.judges[0]", "'outsider'?"]),
        ("contested", {"judges": []}, ["generations.contested.external_check.judges"]),
        ("contested", {}, ["generations.contested.external_check.judges: missing"]),
        ("contested", {"judges": ["outsider"], "limit": 0}, ["generations.contested.external_check.limit"]),
        ("contested", {"judges": ["outsider"], "judge": 3}, ["external_check.judge: unknown key", "'judges'"]),
        (
            "plans",
            {"judges": ["outsider"]},
            ["generations.plans.external_check: only a tournament", "method is single"],
        ),
    ],
)
def test_a_wrong_check_is_refused(generation: str, check: dict[str, Any], words: list[str]) -> None:
    study = copy.deepcopy(FULL)
    study["generations"][generation]["external_check"] = check
    with pytest.raises(StudyError) as caught:
        load_plan(study, ROOT, ROOT)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_report_tells_who_answered() -> None:
    study = with_check()
    study["generations"]["contested"]["roles"] = {"critic": "outsider", "judges": ["outsider", "smollm2"]}
    report = told(study)["report"]
    assert report["roles"] == {"critic": "outsider", "judges": ["outsider", "smollm2"]}
    assert report["tournament"] == {"judges": 3, "max_rounds": 2, "convergence": 2}
    assert report["external_judges"] == ["outsider"]
    assert told(study, "plans")["report"]["tournament"] is None


def test_the_report_tells_the_models_of_routes() -> None:
    study = with_check()
    study["generations"]["contested"]["routes"] = [{"category": ["software"], "models": ["outsider"]}]
    study["generations"]["contested"]["grammar"] = None  # its server takes no GBNF
    assert told(study)["report"]["roles"] == {"teacher": ["smollm2", "outsider"]}


def test_models_of_the_check_are_made() -> None:
    """A judge that nobody else asks is materialised, and its record is one of the study's."""
    study = with_check(judges=["second"])
    study["models"]["second"] = {"backend": "llama_cpp", "weights": "embedded"}
    plan = load_plan(study, ROOT, ROOT)
    assert "results/models/second/model.gguf.record.json" in study_records(plan)
    assert generation_reports.check_judges(plan, "contested") == ["second"]
