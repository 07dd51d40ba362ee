"""Recipes are plain JSON, and every single value of the study decides the job that it is for."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.generation_reports import checked, recipe_check
from stillhouse.study.plan import Plan, load_plan
from stillhouse.study.quality_plan import recipe_scores, score_template, scored
from stillhouse.study.records import study_records

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
DEFAULT["models"]["api"] = {
    "backend": "openai", "base_url": "http://a/v1", "model": "m", "api_key_env": "KEY", "timeout_s": 9.0, "max_tries": 3,
    "limits": {"concurrency": 9, "requests_per_minute": 60}, "price": {"input": 1.0, "output": 2.0}, "licence": "mit",
}  # fmt: skip
DEFAULT["models"]["twin"] = {"backend": "llama_cpp", "weights": "embedded"}
DEFAULT["exports"]["twin"] = DEFAULT["exports"]["mixed"]
DEFAULT["generations"]["plans"]["quality"] = {"model": "smollm2", "repeats": 3, "judging": {"temperature": 0.7}}
DEFAULT["generations"]["contested"]["roles"] = {"critic": "api", "judges": ["smollm2", "api"]}


JUDGED = {"breaks": Plan.recipe_breaks, "rubric": Plan.recipe_rubric, "pairwise": Plan.recipe_pairwise}


def jobs(plan: Plan) -> dict[str, str]:
    """Everything that the rules are told by the study, by job: recipe and names of inputs."""
    study, found = plan.study, {}
    for name in study.models:
        if study.models[name].backend == "llama_cpp":
            found[f"model {name}"] = (plan.recipe_model(name), plan.source_files(name))
    for name in study.prompts:
        found[f"prompts {name}"] = (plan.recipe_prompts(name), plan.prompts_files(name))
    for name in study.answers:
        found[f"answers {name}"] = (plan.recipe_answers(name), plan.answers_files(name))
    for name, item in study.generations.items():
        weights = plan.model_weights(plan.generation_models(name))
        for shard in range(item.shards):
            found[f"shard {name} {shard}"] = (plan.recipe_shard(name, shard), plan.inputs_shard(name), weights)
        found[f"merge {name}"] = (plan.recipe_merge(name), plan.shards(name))
    for name in checked(plan):
        found[f"check {name}"] = recipe_check(plan, name)
    for name in scored(plan):
        found[f"scores {name}"] = (recipe_scores(plan, name), score_template(plan, name))
    for name in study.datasets:
        found[f"dataset {name}"] = (plan.recipe_dataset(name), plan.inputs_dataset(name), plan.token_models(name))
        found[f"dataset {name} card"] = plan.recipe_dataset_card(name)
    for name, item in study.adapters.items():
        found[f"adapter {name}"] = (plan.recipe_adapter(name), plan.base_of(name), item.dataset)
    for name in study.exports:
        found[f"export {name}"] = (plan.recipe_export(name), plan.ggufs(name), plan.modelfile_gguf(name))
        found[f"card {name}"] = (plan.recipe_card(name), plan.ggufs(name))
    for name, item in study.evaluations.items():
        for key in item.sets:
            found[f"held out {name} {key}"] = (
                plan.recipe_evaluation_prompts(name, key),
                plan.evaluation_prompts_file(name, key),
            )
        for key in item.subjects:
            weights = plan.subject_weights(name, key)
            found[f"subject {name} {key}"] = (plan.recipe_subject(name, key), plan.inputs_subject(name, key), weights)
        found[f"markers {name}"] = plan.markers_file(name)
        for kind, recipe in JUDGED.items():
            if getattr(item, kind):
                found[f"{kind} {name}"] = (recipe(plan, name), plan.judging_sources(name, kind))
        found[f"report {name}"] = (plan.recipe_report(name), plan.judgements(name))
    return {job: canonical_json(value) for job, value in found.items()}


def leaves(value, path=()):
    """(path, value) of every leaf of nested dicts and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield path, value
    else:
        for key, part in parts:
            yield from leaves(part, (*path, key))


def put(study: dict, path: tuple, value) -> dict:
    changed = copy.deepcopy(study)
    here = changed
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return changed


def full(study: dict) -> dict:
    """The study with every default written out."""
    plan = load_plan(study, ROOT, ROOT)
    plain = json.loads(plan.study.model_dump_json(exclude_none=True))
    for item in plain["evaluations"].values():
        item["subjects"]["gold"].setdefault("condition", "gold")
    return plain


FULL = full(DEFAULT)
WANTED = {"generations": "shard ", "datasets": "dataset ", "adapters": "adapter ", "evaluations": ""}
OTHER_FILES = {
    ".gbnf": "config/schema.json", ".j2": "data/judging/rubric.j2", ".md": "data/README.md", ".jsonl": "data/prompts/plans_tournament.jsonl", ".yaml": "data/README.md",
}  # fmt: skip
CHOICES = {
    "method": ["single", "tournament"], "objective": ["sft", "dpo"], "quantization": ["none", "nf4"],
    "schedule": ["cosine", "linear"], "precision": ["auto", "fp32"], "optimizer": ["adamw_torch", "adamw_8bit"],
    "over": ["answer"], "keep": ["longest"], "task": ["revise"], "share_of": ["rows", "tokens"],
    "format": ["sft", "preference"], "rejected": ["losers", "draft"], "order": ["shuffle", "source"], "evaluate": ["epoch", 5],
    "role": ["target", "forgetting"], "targets": ["all-linear", ["q_proj"]], "serve": ["gguf:Q4_K_M", "gguf:Q8_0"],
    "outputs": ["sharegpt", "mlx"],
}  # fmt: skip


def others(path: tuple, value) -> list:
    """Other values that the leaf may take, tried until the study accepts one."""
    names = {"twin", *FULL["models"], *FULL["prompts"], *FULL["generations"], *FULL["datasets"], *FULL["adapters"]}
    names |= {*FULL["evaluations"]["framework"]["subjects"], "framework"}
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, value + 2, value * 2]
    if isinstance(value, float):
        return [other for other in (round(value * 0.5, 6), value + 0.5, value + 1, value + 0.01) if other != value]
    key = next(part for part in reversed(path) if isinstance(part, str))
    if key in CHOICES:
        return [choice for choice in CHOICES[key] if choice != value]
    if Path(value).suffix in OTHER_FILES:
        return [OTHER_FILES[Path(value).suffix]]
    return ["twin", *sorted(names - {value, "twin"}), "other"]


def accepted(path: tuple, value) -> Plan | None:
    for other in others(path, value):
        try:
            return load_plan(put(FULL, path, other), ROOT, ROOT)
        except StudyError:
            continue
    return None


SECTIONS = ("generations", "adapters", "datasets", "evaluations")
LEAVES = [(path, value) for path, value in leaves(FULL) if path[0] in SECTIONS]
# No second value exists in the default study, or another setting forbids it alone.
ONLY_ONE = {
    "templates",
    "not_truncated",
    "format",
    "method",
    "objective",
    "against",
    "dataset",
    "condition",
    "preferences",
    "role",
    "share_of",
}
OPERATIONAL = ("checkpoint_minutes", "accept_collapse")
"""Keys that decide no result."""
IDLE = {
    ("evaluations", "framework", "gates"): "report",
    ("evaluations", "framework", "markers"): "markers",
    ("evaluations", "framework", "rubric"): "rubric",
    ("evaluations", "framework", "judging"): "rubric",
    ("evaluations", "framework", "pairwise"): "pairwise",
    ("evaluations", "framework", "prompts"): "",
}


CARDS = {"dataset mixed card", "dataset plain card", "dataset preferences card", "card mixed", "card twin"}


def test_there_are_leaves_to_change() -> None:
    assert len(LEAVES) > 150
    assert json.loads(canonical_json(FULL)) == FULL


@pytest.mark.parametrize(
    ("path", "value"), LEAVES, ids=lambda item: ".".join(map(str, item)) if isinstance(item, tuple) else None
)
def test_changing_one_value_changes_the_job_it_decides_and_no_stranger(path: tuple, value) -> None:
    plan = accepted(path, value)
    if path[-1] in OPERATIONAL:
        assert plan is None or jobs(plan) == jobs(load_plan(FULL, ROOT, ROOT))
        return
    if plan is None:
        assert ONLY_ONE & set(map(str, path)), f"no other value was accepted at {path}"
        pytest.skip("no other value fits the default study")
    section, name = path[0], path[1]
    single = section == "generations" and FULL["generations"][name]["method"] == "single"
    sft = section == "datasets" and FULL["datasets"][name]["format"] == "sft"
    before, after = jobs(load_plan(FULL, ROOT, ROOT)), jobs(plan)
    changed = {job for job in {*before, *after} if before.get(job) != after.get(job)}
    idle = section == "generations" and "dialogue" in path  # no generation of the default study talks
    if idle or single and "tournament" in path or sft and "pairs" in path and not changed:
        return
    assert changed, f"{'.'.join(map(str, path))} decides nothing"
    for prefix, job in IDLE.items():
        if path[: len(prefix)] == prefix:
            assert any(found.startswith(job) for found in changed)
    if section in ("generations", "datasets", "adapters"):
        mine = {
            "generations": ("shard", "merge", "check", "scores"),
            "datasets": ("dataset",),
            "adapters": ("adapter", "export", "card", "subject", "report"),
        }
        # cards name every prompt set and model behind them
        strangers = [job for job in changed - CARDS if not (job.startswith(mine[section]))]
        assert (
            section != "adapters"
            and all(job.startswith("dataset") for job in strangers)
            or not strangers
            or path[-1] == "base"
        ), strangers
        if section != "adapters":
            assert all(f" {name}" in job for job in changed - CARDS if job.startswith(mine[section]))


@pytest.mark.parametrize("values", [{"rank": 32, "alpha": 16}])
def test_swapping_rank_and_alpha_changes_the_recipe(values: dict) -> None:
    changed = copy.deepcopy(FULL)
    changed["adapters"]["mixed"]["lora"].update(values)
    before, after = jobs(load_plan(FULL, ROOT, ROOT)), jobs(load_plan(changed, ROOT, ROOT))
    assert sorted(job for job in before if before[job] != after[job]) == ["adapter mixed", "card mixed", "card twin"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_url", "https://other/v1"), ("api_key_env", "OTHER"), ("timeout_s", 1.0), ("max_tries", 9), ("price", None),
        ("price", {"input": 5, "output": 6}), ("limits", {"concurrency": 32}),
    ],
)  # fmt: skip
def test_operational_settings_change_nothing(key: str, value) -> None:
    assert jobs(load_plan(put(FULL, ("models", "api", key), value), ROOT, ROOT)) == jobs(load_plan(FULL, ROOT, ROOT))


def test_what_decides_a_model_changes_the_jobs_that_ask_it() -> None:
    before = jobs(load_plan(FULL, ROOT, ROOT))
    for path, value in ((("models", "api", "model"), "n"), (("models", "smollm2", "context"), 1024)):
        after = jobs(load_plan(put(FULL, path, value), ROOT, ROOT))
        assert "shard contested 0" in {job for job in before if before[job] != after[job]}


def changed_jobs(**sections: dict) -> set[str]:
    """The jobs that other values in some sections change; what is given is laid over the section's own."""
    study = copy.deepcopy(FULL)
    for section, entries in sections.items():
        for name, entry in entries.items():
            study[section][name] = {**study[section].get(name, {}), **entry} if isinstance(entry, dict) else entry
    before, after = jobs(load_plan(FULL, ROOT, ROOT)), jobs(load_plan(study, ROOT, ROOT))
    return {job for job in {*before, *after} if before.get(job) != after.get(job)}


@pytest.mark.parametrize(
    "sections",
    [
        {"models": {"smollm2": {"licence": "mit"}}},
        {"models": {"smollm2": {"terms": {"training": True, "note": "agreed by letter"}}}},
        {"models": {"smollm2": {"hub": "someone/else"}}},
        {"models": {"api": {"terms": {"training": True}, "licence": None}}},
        {"prompts": {"plans": {"licence": "cc-by-4.0"}}},
        {"prompts": {"plans": {"terms": {"commercial": True, "note": "by letter"}}}},
        {"prompts": {"plans": {"language": "de"}}},
        {"datasets": {"mixed": {"licence": "mit", "hub": "someone/mixed"}}},
        {"exports": {"mixed": {"licence": "mit"}}},
    ],
    ids=str,
)
def test_licences_and_terms_change_cards_alone(sections: dict) -> None:
    changed = changed_jobs(**sections)
    assert changed
    assert changed <= CARDS


def test_what_is_excluded_changes_the_sets_that_it_can_concern() -> None:
    sets = {"prompts contested", "prompts plans", "prompts everyday", "held out framework plans"}
    sets |= {"held out framework everyday"}
    both = {"prompts plans", "held out framework plans"}
    assert changed_jobs(exclude={"prompts": ["plans:plan-001"]}) == both
    assert changed_jobs(exclude={"sources": ["plans"]}) == both
    assert changed_jobs(exclude={"sources": ["./data/prompts/plans.jsonl"]}) == {"prompts plans"}
    assert changed_jobs(exclude={"sources": [str(ROOT / "data/eval/plans.jsonl")]}) == {"held out framework plans"}
    assert changed_jobs(exclude={"prompts": ["0123456789abcdef"]}) == sets
    assert changed_jobs(exclude={"patterns": ["acme"]}) == sets
    assert changed_jobs(exclude={"prompts": [], "patterns": []}) == set()


def test_neither_order_nor_repeats_in_exclude_matter() -> None:
    one = {"prompts": ["plans:b", "plans:a"], "patterns": ["y", "x", "y"]}
    two = {"prompts": ["plans:a", "plans:b", "plans:a"], "patterns": ["x", "y"]}
    plans = [load_plan({**FULL, "exclude": exclude}, ROOT, ROOT) for exclude in (one, two)]
    assert jobs(plans[0]) == jobs(plans[1])


def test_the_order_of_names_in_the_file_does_not_matter_to_shards() -> None:
    turned = {
        **FULL,
        "generations": dict(reversed(FULL["generations"].items())),
        "models": dict(reversed(FULL["models"].items())),
    }
    assert jobs(load_plan(turned, ROOT, ROOT)) == jobs(load_plan(FULL, ROOT, ROOT))


def test_references_of_the_plan_lead_to_files_that_jobs_make() -> None:
    plan = load_plan(FULL, ROOT, ROOT)
    assert plan.subject_weights("framework", "packed") == ["results/exports/mixed/mixed-Q4_K_M.gguf"]
    assert plan.inputs_subject("framework", "packed")["digests"] == ["results/exports/mixed/digests/Q4_K_M.json"]
    assert plan.ggufs("mixed") == ["f16", "Q4_K_M", "Q8_0", "adapter"]
    assert plan.modelfile_gguf("mixed") == "Q4_K_M"


def test_a_file_that_moves_from_one_part_of_a_subject_to_another_is_seen() -> None:
    framework = FULL["evaluations"]["framework"]
    told = set()
    files = {"system": "data/framework/system.md", "context": ["data/framework/system.md"]}
    ways = [{"system": files["system"]}, {"context": files["context"]}, {"wrap": files["system"]}]
    ways += [{"system": files["system"], "context": files["context"]}, {"context": files["context"] * 2}]
    for way in ways:
        subjects = {**framework["subjects"], "vanilla": {"condition": "vanilla", "model": "smollm2", **way}}
        plan = load_plan(put(FULL, ("evaluations", "framework", "subjects"), subjects), ROOT, ROOT)
        told.add(canonical_json(plan.recipe_subject("framework", "vanilla")))
    assert len(told) == len(ways)


PAIRS = {"file": "data/replay/answers.jsonl", "licence": "mit"}
ANSWERED = {
    **FULL,
    "answers": {"pairs": PAIRS, "unused": PAIRS},
    "datasets": {
        **FULL["datasets"],
        "plain": {
            **FULL["datasets"]["plain"],
            "sources": [{"generation": "plans"}, {"generation": "pairs", "share": 0.2}],
        },
    },
}


def changed_answers(entry: dict, **sections: dict) -> set[str]:
    """The jobs that change with the entry `pairs` of `answers`."""
    study = {**ANSWERED, **sections, "answers": {**ANSWERED["answers"], "pairs": {**PAIRS, **entry}}}
    before, after = jobs(load_plan(ANSWERED, ROOT, ROOT)), jobs(load_plan(study, ROOT, ROOT))
    return {job for job in before if before[job] != after[job]}


def test_a_dataset_takes_answers_of_files_like_those_of_a_generation() -> None:
    plan = load_plan(ANSWERED, ROOT, ROOT)
    inputs = plan.inputs_dataset("plain")
    assert inputs["answers"] == ["results/generations/plans/answers.parquet", "results/answers/pairs/answers.parquet"]
    assert inputs["failures"] == ["results/generations/plans/failures.parquet"]
    assert plan.answers_files("pairs") == ["data/replay/answers.jsonl"]
    assert plan.recipe_answers("pairs") == {"set": "pairs", "limit": None, "exclude": {}, "answers": True}
    records = study_records(plan)
    assert "results/answers/pairs/record.json" in records
    assert "results/answers/unused/record.json" not in records


def test_answers_of_files_may_be_the_rejected_side() -> None:
    sources, pairs = [{"generation": "pairs"}], {"rejected": [{"generation": "unused"}, {"generation": "plans"}]}
    dataset = {"format": "preference", "sources": sources, "pairs": pairs}
    plan = load_plan({**ANSWERED, "datasets": {**ANSWERED["datasets"], "onpolicy": dataset}}, ROOT, ROOT)
    inputs = plan.inputs_dataset("onpolicy")
    assert inputs["others"] == ["results/answers/unused/answers.parquet", "results/generations/plans/answers.parquet"]
    assert inputs["failures"] == []
    assert "results/answers/unused/record.json" in study_records(plan)
    keys = [party["key"] for party in plan.recipe_dataset_card("onpolicy")["parties"]]
    assert sorted(keys) == ["answers.pairs", "answers.unused", "models.smollm2", "prompts.plans"]


@pytest.mark.parametrize(
    "entry",
    [
        {"file": "data/prompts/plans.jsonl"}, {"format": "json"}, {"columns": {"response": "text"}}, {"limit": 3},
        {"categories": [{"category": "c", "pattern": "x"}]}, {"sample": {"size": 3}}, {"bad_rows": "reject"},
    ],
    ids=str,
)  # fmt: skip
def test_how_answers_are_read_decides_their_job_alone(entry: dict) -> None:
    assert changed_answers(entry) == {"answers pairs"}


@pytest.mark.parametrize(
    "entry", [{"licence": "cc-by-4.0"}, {"terms": {"training": False}}, {"language": "de"}], ids=str
)
def test_licence_terms_and_language_of_answers_change_cards_alone(entry: dict) -> None:
    assert changed_answers(entry) == {"dataset plain card"}


def test_what_is_excluded_reaches_answers_of_files() -> None:
    entries = [{"prompts": ["pairs:plan-1"]}, {"sources": ["pairs"]}]
    assert [changed_answers({}, exclude=exclude) for exclude in entries] == [{"answers pairs"}] * 2
    both = {"answers pairs", "answers unused"}
    assert changed_answers({}, exclude={"sources": ["./data/replay/answers.jsonl"]}) == both
    assert both < changed_answers({}, exclude={"patterns": ["acme"]})
