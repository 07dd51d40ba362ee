"""What scoring answers takes of the study, whom it concerns, and what is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
from test_bad_studies import DEFAULT, ROOT, fault_of

from stillhouse.study import generation_reports, quality_plan
from stillhouse.study.files import link_workflow
from stillhouse.study.licences import dataset_parties
from stillhouse.study.plan import Plan, load_plan
from stillhouse.study.records import study_records

JUDGE = {"backend": "openai", "base_url": "http://localhost/v1", "model": "outsider-1", "licence": "mit"}
RECORD = "results/generations/plans/quality.parquet.record.json"


def study(
    quality: dict[str, Any] | None = None, filters: list | None = None, *, answers: bool = False, **dataset: Any
) -> dict[str, Any]:
    """The default study with a scored generation, and a dataset of it (and of answers of files) that may go by scores."""
    found = copy.deepcopy(DEFAULT)
    found["models"]["outsider"] = JUDGE
    found["generations"]["plans"]["quality"] = quality
    sources = [{"generation": "plans", "filters": filters or []}]
    if answers:
        file = "data/prompts/plans_tournament.jsonl"
        found["answers"] = {"own": {"file": file, "licence": "mit", "quality": {"model": "outsider"}}}
        sources.append({"generation": "own", "filters": filters or []})
    found["datasets"]["chosen"] = {"sources": sources, **dataset}
    return found


def plan_of(*values: Any, **more: Any) -> Plan:
    return load_plan(study(*values, **more), ROOT, ROOT)


SCORED = {"model": "outsider"}
GOOD = [{"quality": {"min": 7}}]


def test_scores_are_made_where_they_are_asked_for() -> None:
    plan = plan_of(SCORED, GOOD, answers=True)
    assert quality_plan.scored(plan) == ["plans", "own"]
    assert quality_plan.score_file(plan, "plans") == ["results/generations/plans/quality.parquet"]
    assert quality_plan.score_file(plan, "own") == ["results/answers/own/quality.parquet"]
    assert quality_plan.score_file(plan, "everyday") == quality_plan.score_models(plan, "everyday") == []
    assert quality_plan.recipe_scores(plan, "plans") == {
        "judge": "outsider", "scale": [1, 10], "repeats": 1, "max_unscored": 0.05,
        "sampling": plan.study.generations["plans"].quality.judging.model_dump(),
        "models": [{"name": "outsider", "backend": "openai", "model": "outsider-1"}],
    }  # fmt: skip
    assert quality_plan.score_sources(plan, "plans") == ["data/quality/score.j2"]


def test_only_datasets_that_go_by_scores_depend_on_them() -> None:
    file = "results/generations/plans/quality.parquet"
    plain, unused, used = plan_of(), plan_of(SCORED), plan_of(SCORED, GOOD)
    assert "quality" not in unused.inputs_dataset("chosen")
    for name in DEFAULT["datasets"]:
        for plan in (unused, used):
            assert plan.inputs_dataset(name) == plain.inputs_dataset(name)
            assert plan.recipe_dataset(name) == plain.recipe_dataset(name)
    assert used.inputs_dataset("chosen")["quality"] == [file]
    told = used.recipe_dataset("chosen")["dataset"]["sources"][0]["filters"]
    assert told == [{"quality": {"min": 7.0, "unscored": "drop"}}]
    for more in ({"order": {"by": "quality"}}, {"near_duplicates": {"keep": "quality"}}):
        both = plan_of(SCORED, answers=True, **more).inputs_dataset("chosen")["quality"]
        assert both == [file, "results/answers/own/quality.parquet"]


def test_nothing_else_of_a_generation_depends_on_its_scores() -> None:
    before, after = plan_of(), plan_of({"model": "outsider", "scale": (1, 5)})
    assert before.recipe_shard("plans", 0) == after.recipe_shard("plans", 0)
    assert before.inputs_shard("plans") == after.inputs_shard("plans")
    assert before.recipe_merge("plans") == after.recipe_merge("plans")
    report = generation_reports.recipe_generation_report
    assert report(before, "plans") == report(after, "plans")


@pytest.mark.parametrize(
    "values",
    [
        {"model": "smollm2"}, {"scale": (0, 5)}, {"repeats": 3, "judging": {"temperature": 0.5}},
        {"judging": {"max_tokens": 7}}, {"max_unscored": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_what_scores_depend_on(values: dict[str, Any]) -> None:
    before, after = plan_of(SCORED), plan_of({**SCORED, **values})
    assert quality_plan.recipe_scores(before, "plans") != quality_plan.recipe_scores(after, "plans")


def test_a_template_of_ones_own_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("{{ prompt }}")
    link_workflow(tmp_path, ROOT)
    plan = load_plan(study({**SCORED, "template": "mine.j2"}), tmp_path, ROOT)
    assert quality_plan.score_template(plan, "plans") == "mine.j2"
    assert quality_plan.score_sources(plan, "plans") == ["mine.j2"]


def test_records_models_and_prices() -> None:
    local = study({"model": "second"}, GOOD)
    local["models"]["second"] = {"backend": "llama_cpp", "weights": "embedded"}
    plan = load_plan(local, ROOT, ROOT)
    assert {RECORD, "results/models/second/model.gguf.record.json"} <= set(study_records(plan))
    assert [one["name"] for one in generation_reports.recipe_cost(plan, "plans")["models"]] == ["second", "smollm2"]
    assert RECORD not in study_records(plan_of())
    of_files = "results/answers/own/quality.parquet.record.json"
    assert of_files in study_records(plan_of(SCORED, GOOD, answers=True))
    assert of_files not in study_records(plan_of(SCORED, answers=True))  # no dataset goes by it


def test_who_scored_what_a_dataset_holds_is_told() -> None:
    parts = {one.key: one.part for one in dataset_parties(plan_of(SCORED, GOOD).study, "chosen")}
    assert parts["models.outsider"] == "quality"
    assert "models.outsider" not in [one.key for one in dataset_parties(plan_of(SCORED).study, "chosen")]


def test_the_estimate_is_told() -> None:
    recipe = plan_of(SCORED, answers=True).recipe_estimate()
    assert recipe["generations"]["plans"]["quality"]["model"] == "outsider"
    assert recipe["answers"]["own"]["repeats"] == 1


KEY = "generations.plans.quality"
REFUSED = {
    "unknown model": ({"model": "outsidr"}, GOOD, [f"{KEY}.model: no 'outsidr'", "'outsider'?"]),
    "no model": ({"scale": [1, 5]}, GOOD, [f"{KEY}.model: missing"]),
    "upside down": ({**SCORED, "scale": [10, 1]}, [], [f"{KEY}.scale: expected [low, high]", "found [10, 1]"]),
    "flat": ({**SCORED, "scale": [3, 3]}, [], [f"{KEY}.scale: expected [low, high]"]),
    "too wide": ({**SCORED, "scale": [0, 1000]}, [], [f"{KEY}.scale: expected [low, high]"]),
    "even": ({**SCORED, "repeats": 2}, [], [f"{KEY}: repeats must be odd", "found 2"]),
    "greedy": ({**SCORED, "repeats": 3}, [], [f"{KEY}: repeats: 3 greedy scores would be one"]),
    "no template": ({**SCORED, "template": "data/quality/scor.j2"}, [], [f"{KEY}.template: no file", "data/quality/score.j2'?"]),
    "unknown key": ({**SCORED, "judge": "x"}, [], [f"{KEY}.judge: unknown key"]),
    "nobody scores": (None, GOOD, ["datasets.chosen.sources[0].filters[0].quality: no model scores these answers", "generations.plans a `quality: {model: NAME}`"]),
    "above the scale": ({**SCORED, "scale": [1, 5]}, GOOD, ["filters[0].quality.min: expected a score on the scale of generations.plans.quality, [1, 5]; found 7"]),
    "below the scale": (SCORED, [{"quality": {"min": 0.5}}], ["filters[0].quality.min: expected a score on the scale", "found 0.5"]),
    "no bound": (SCORED, [{"quality": {"unscored": "keep"}}], ["filters[0].quality.min: missing"]),
    "unscored": (SCORED, [{"quality": {"min": 3, "unscored": "maybe"}}], ["filters[0].quality.unscored: expected one of drop, keep", "found 'maybe'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_fault_names_key_found_and_expected(case: str) -> None:
    quality, filters, words = REFUSED[case]
    text = fault_of(study(quality, filters))
    assert not [word for word in words if word not in text], text


@pytest.mark.parametrize("more", [{"order": {"by": "quality"}}, {"near_duplicates": {"keep": "quality"}}], ids=str)
def test_an_order_by_scores_that_nobody_gives_is_refused(more: dict[str, Any]) -> None:
    key = "order.by" if "order" in more else "near_duplicates.keep"
    assert f"datasets.chosen.{key}: quality: none of the sources" in fault_of(study(None, **more))
