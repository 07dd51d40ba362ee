"""Every fault of a study is told by key path, what was found and what was expected, without pydantic's words."""

import copy
from pathlib import Path

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.study.files import WORKFLOW_LINK, link_workflow
from stillhouse.study.plan import load_plan
from stillhouse.study.study import load_study

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
JARGON = ("pydantic", "Input should", "String should", "Value error", "tag", "discriminator", "literal", "instance of")
API = {"backend": "openai", "base_url": "http://localhost/v1", "model": "m"}


def changed(path: str, value):
    study = copy.deepcopy(DEFAULT)
    study["exclude"] = {}
    *way, last = [int(part) if part.isdigit() else part for part in path.split(" ")]
    here = study
    for part in way:
        here = here[part]
    here[last] = value
    return study


def fault_of(study) -> str:
    with pytest.raises(StudyError) as caught:
        load_plan(study, ROOT, ROOT)
    text = str(caught.value)
    assert len(text.splitlines()) <= 10
    assert not [word for word in JARGON if word in text], text
    return text


PLANS = DEFAULT["generations"]["plans"]
SOURCE = "datasets plain sources 0"
SUBJECTS = "evaluations framework subjects"

CASES = {
    "unknown top key": ("generatons", {}, ["- generatons: unknown key", "did you mean 'generations'"]),
    "unknown section key": ("adapters mixed lorra", {}, ["adapters.mixed.lorra: unknown key", "'lora'"]),
    "unknown nested key": ("adapters mixed lora ranks", 3, ["adapters.mixed.lora.ranks: unknown key", "'rank'"]),
    "unknown key in a union": ("models smollm2 contxt", 3, ["models.smollm2.contxt: unknown key", "'context'"]),
    "unknown key in a list": (f"{SOURCE} filters", [{"min_word": 3}], ["sources[0].filters[0].min_word", "'min_words'"]),
    "unknown key in optional": ("models api", {**API, "limits": {"concurency": 1}}, ["limits.concurency", "concurrency"]),
    "unknown backend": ("models smollm2 backend", "llamacpp", ["models.smollm2.backend: expected one of", "'llamacpp'", "'llama_cpp'?"]),
    "no backend": ("models smollm2", {"weights": "embedded"}, ["models.smollm2.backend: missing", "llama_cpp, openai, recorded"]),
    "model as text": ("models smollm2", "embedded", ["models.smollm2: expected a mapping", "found 'embedded'"]),
    "model empty": ("models smollm2", None, ["models.smollm2: expected a mapping", "found nothing"]),
    "name with dots and slash": ("generations ../x", PLANS, ["generations.'../x'", "letters, digits", "beginning with"]),
    "name in a reference": ("generations plans prompts", "../plans", ["generations.plans.prompts: expected a name", "'../plans'"]),
    "name of dots": ("generations ..", PLANS, ["expected a name", "'..'"]),
    "name with a newline": ("generations plans\n", PLANS, ["expected a name", r"'plans\n'"]),
    "name too long": ("generations " + "a" * 81, PLANS, ["expected a name", "80 at most"]),
    "study's name": ("study", "../x", ["- study: expected a name", "'../x'"]),
    "missing generation": (f"{SOURCE} generation", "contestd", ["datasets.plain.sources[0].generation: no 'contestd'", "'contested'?"]),
    "missing grammar": ("generations plans grammar", "data/framework/answr.gbnf", ["generations.plans.grammar: no file", "answer.gbnf'?"]),
    "missing prompts": ("prompts plans file", "nowhere.jsonl", ["prompts.plans.file: no file 'nowhere.jsonl'"]),
    "missing templates": ("generations contested tournament templates", "data/framework", ["templates", "has no critic.j2"]),
    "folder for a file": ("generations plans system", "data/framework", ["generations.plans.system", "is a folder"]),
    "empty file name": ("generations plans system", "", ["generations.plans.system: no file ''"]),
    "quant not made": (f"{SUBJECTS} packed serve", "gguf:Q5_K_M", ["subjects.packed.serve", "does not make Q5_K_M", "Q4_K_M, Q8_0", "exports.mixed.quants"]),
    "unknown quant": ("exports mixed quants", ["Q4_0"], ["exports.mixed.quants[0]: expected one of", "'Q4_0'"]),
    "text for a number": ("adapters mixed lora rank", "lots", ["adapters.mixed.lora.rank: expected a whole number; found 'lots'"]),
    "fraction": ("adapters mixed lora rank", 1.5, ["expected a whole number; found 1.5"]),
    "below bound": ("adapters mixed lora rank", 0, ["expected a number of at least 1; found 0"]),
    "above bound": (f"{SOURCE} share", 1.5, ["share: expected a number", "found 1.5"]),
    "not a number": ("adapters mixed training learning_rate", float("nan"), ["expected a finite number; found nan"]),
    "infinite": ("adapters mixed training learning_rate", float("inf"), ["expected a finite number; found inf"]),
    "union of types": ("adapters mixed lora targets", 3, ["adapters.mixed.lora.targets: expected 'all-linear' or a list; found 3"]),
    "union of types below": ("adapters mixed lora targets", [3], ["adapters.mixed.lora.targets[0]: expected text; found 3"]),
    "list for a mapping": ("adapters", [1], ["- adapters: expected a mapping"]),
    "mapping for a list": (f"{SOURCE} filters", {"min_words": 3}, ["filters: expected a list; found a mapping with min_words"]),
    "no sources": ("datasets plain sources", [], ["datasets.plain.sources: expected at least 1"]),
    "misspelt choice": ("generations plans method", "tournment", ["expected one of single, tournament, dialogue; found 'tournment'; did you mean 'tournament'?"]),
    "role": ("evaluations framework prompts everyday role", "forgeting", ["one of target, forgetting", "'forgetting'?"]),
    "two keys in a filter": (f"{SOURCE} filters", [{"min_words": 3, "max_words": 9}], ["filters[0]: a filter is one key"]),
    "empty filter": (f"{SOURCE} filters", [{"min_words": None}], ["filters[0]: a filter is one key"]),
    "splits": ("datasets mixed split", {"train": 0.9, "valid": 0.3}, ["datasets.mixed.split: train + valid is 1.2"]),
    "two kinds of subject": (f"{SUBJECTS} gold adapter", "mixed", ["subjects.gold: needs exactly one of"]),
    "no kind of subject": (f"{SUBJECTS} gold", {}, ["subjects.gold: needs exactly one of", "found none"]),
    "three in a pair": ("evaluations framework pairwise pairs", [["a", "b", "c"]], ["pairs[0]: expected at most 2"]),
    "unknown in a pair": ("evaluations framework pairwise pairs", [["student", "vanila"]], ["pairs[0]: no 'vanila'", "'vanilla'?"]),
    "name as a number": ("generations 5", PLANS, ["generations[5]: expected a name", "found 5"]),
    "wrong dataset format": ("adapters mixed objective", "dpo", ["adapters.mixed.dataset: objective dpo takes format preference"]),
    "unknown adapter": ("exports mixed adapter", "mixd", ["exports.mixed.adapter: no 'mixd'", "'mixed'?"]),
    "pattern": ("exclude patterns", ["fine", "["], ["exclude.patterns[1]: '[' is no regular expression"]),
    "pattern for all": ("exclude patterns", ["x*"], ["exclude.patterns[0]: 'x*' matches an empty text"]),
    "no prompt_id": ("exclude prompts", ["ABCDEF0123456789"], ["exclude.prompts[0]: expected a prompt_id (16 hex digits, small) or `set:id`"]),
    "prompt_id as number": ("exclude prompts", [1234567890123456], ["exclude.prompts[0]: expected text; found 1234567890123456"]),
    "no id": ("exclude prompts", ["plans:"], ["exclude.prompts[0]: expected a prompt_id"]),
    "unknown set": ("exclude prompts", ["plan:a"], ["exclude.prompts[0]: no prompt set 'plan'", "'plans'?"]),
    "unknown source": ("exclude sources", ["data/prompts/plan.jsonl"], ["exclude.sources[0]: 'data/prompts/plan.jsonl' is no prompt set", "'data/prompts/plans.jsonl'?"]),
    "empty source": ("exclude sources", [" "], ["exclude.sources[0]: expected the name of a prompt set"]),
    "unknown key of exclude": ("exclude ids", [], ["- exclude.ids: unknown key"]),
    "unknown terms": ("prompts plans terms", {"trainig": True}, ["prompts.plans.terms.trainig: unknown key; did you mean 'training'?"]),
    "terms in words": ("prompts plans terms", {"training": "perhaps"}, ["prompts.plans.terms.training: expected true or false; found 'perhaps'"]),
    "licence of two lines": ("prompts plans licence", "one\ntwo", ["prompts.plans.licence: expected one line of text"]),
    "no licence": ("prompts plans licence", None, ["exports.mixed: it may not be shipped as it is: whether prompts.plans may be trained on is unknown (it has no licence)", "`exports.mixed.accept_terms: [prompts.plans:unknown]`"]),
    "accepted kind": ("exports mixed accept_terms", ["prompts.plans:unknwon"], ["exports.mixed.accept_terms[0]: 'prompts.plans:unknwon' does not end in :unknown"]),
    "accepted key": ("exports mixed accept_terms", ["prompts.plan:unknown"], ["exports.mixed.accept_terms[0]: no 'prompts.plan'", "'prompts.plans'?"]),
    "version": ("version", 2, ["- version: expected 1; found 2"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fault_names_key_found_and_expected(case: str) -> None:
    path, value, parts = CASES[case]
    if case == "name as a number":
        study = copy.deepcopy(DEFAULT)
        study["generations"][5] = value
    else:
        study = changed(path, value)
    text = fault_of(study)
    assert not [part for part in parts if part not in text], text


def test_a_key_pasted_by_mistake_is_not_repeated() -> None:
    for entry in (
        {**API, "api_key_env": "sk-planted-1"},
        {**API, "api_key": "sk-planted-1"},
        {"backend": "opnai", "api_key": "sk-planted-1"},
    ):
        assert "sk-planted-1" not in fault_of(changed("models api", entry))


def test_all_faults_are_told_at_once_but_on_one_screen() -> None:
    study = changed("adapters mixed lora rank", 0)
    study["adapters"]["mixed"]["lora"]["alpha"] = "x"
    assert "2 faults" in fault_of(study)
    study["generations"]["plans"].update({f"unknown{i}": 1 for i in range(30)})
    assert "and 24 more" in fault_of(study)


@pytest.mark.parametrize("value", [[1], "text", None, 3])
def test_a_config_that_is_no_mapping(value) -> None:
    assert "expected a mapping" in fault_of(value)


def test_the_study_needs_a_name() -> None:
    assert "study: missing" in fault_of({})


def test_sections_and_parts_may_be_empty() -> None:
    sections = ("models", "prompts", "generations", "datasets", "adapters", "exports", "evaluations")
    assert load_study({"study": "x", **dict.fromkeys(sections)}) == load_study({"study": "x"})
    full = copy.deepcopy(DEFAULT)
    full["adapters"]["mixed"]["lora"] = None
    full["generations"]["plans"]["sampling"] = None
    full["generations"]["plans"]["tournament"] = None
    without = copy.deepcopy(full)
    del without["adapters"]["mixed"]["lora"], without["generations"]["plans"]["sampling"]
    del without["generations"]["plans"]["tournament"]
    assert load_study(full) == load_study(without)


REPLAYS = "tests/studies/replay"
DATA = {
    "replay-hammerstein": f"{REPLAYS}/hammerstein",
    "replay-foundry": f"{REPLAYS}/foundry",
    "guarded-foundry": f"{REPLAYS}/persona-prompts.jsonl",
    "replay-verdicts": f"{REPLAYS}/verdicts",
    "mix-hammerstein": f"{REPLAYS}/mix",
}
"""The folder that a shipped study takes by --config."""


def test_the_default_study_and_all_shipped_ones_load() -> None:
    files = [ROOT / "config/config.yaml", *sorted((ROOT / "config").glob("studies/*.yaml"))]
    assert len(files) > 3
    for file in files:
        load_plan({"data": DATA.get(file.stem), **yaml.safe_load(file.read_text())}, ROOT, ROOT)


def test_files_are_found_in_the_workflow_folder_and_named_relatively_below_the_working_one(tmp_path: Path) -> None:
    link_workflow(tmp_path, ROOT)
    plan = load_plan(DEFAULT, tmp_path, ROOT)
    assert plan.prompts_files("plans") == [f"{WORKFLOW_LINK}/data/prompts/plans.jsonl"]
    mine = tmp_path / "data/prompts/plans.jsonl"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"prompt": "x"}\n')
    assert load_plan(DEFAULT, tmp_path, ROOT).prompts_files("plans") == ["data/prompts/plans.jsonl"]
    absolute = changed("prompts plans file", str(mine))
    assert load_plan(absolute, tmp_path, ROOT).prompts_files("plans") == ["data/prompts/plans.jsonl"]
