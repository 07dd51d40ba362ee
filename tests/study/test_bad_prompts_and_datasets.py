"""Faults in the sections of prompts, generations and datasets are told by key, found and expected."""

from pathlib import Path

import pytest
from test_bad_studies import DEFAULT, ROOT, changed, fault_of

from stillhouse.study.files import StudyFiles, link_workflow
from stillhouse.study.plan import load_plan

SOURCE = "datasets plain sources 0"
FILTERS = f"{SOURCE} filters"
HUB = {"name": "owner/name", "revision": "0123abc"}

CASES = {
    "two sources": ("prompts plans hub", HUB, ["prompts.plans: expected one of file, hub and expand; found file and hub"]),
    "no source": ("prompts plans", {"limit": 3}, ["prompts.plans: expected one of file, hub and expand; found none"]),
    "no match": ("prompts plans file", "data/prompts/*.xml", ["prompts.plans.file: no file matches 'data/prompts/*.xml'"]),
    "hub without a revision": ("prompts plans", {"hub": {"name": "owner/name"}, "licence": "mit"}, ["prompts.plans.hub: no folder 'owner/name'", "`revision`"]),
    "unknown field": ("prompts plans columns", {"text": "question"}, ["prompts.plans.columns.text", "expected one of id, prompt"]),
    "rule without a test": ("prompts plans categories", [{"category": "x"}], ["categories[0]: a rule needs pattern"]),
    "half a rule": ("prompts plans categories", [{"category": "x", "field": "a.b"}], ["categories[0]: field and equals go together"]),
    "rule with a bad pattern": ("prompts plans categories", [{"category": "x", "pattern": "("}], ["categories[0].pattern: not a regular expression"]),
    "no templates": ("prompts plans", {"expand": {"templates": "none.txt", "domains": ["a"], "model": "smollm2"}, "licence": "mit"}, ["prompts.plans.expand.templates: no file 'none.txt'"]),
    "unknown writer": ("prompts plans", {"expand": {"templates": "README.md", "domains": ["a"], "model": "smolm2"}}, ["prompts.plans.expand.model: no 'smolm2'", "'smollm2'?"]),
    "plain lines": ("answers", {"a": {"file": "README.txt.gz"}}, ["answers.a: file: plain lines hold no answers", "found .txt"]),
    "plain lines by format": ("answers", {"a": {"file": "README.md", "format": "lines"}}, ["answers.a.format: expected one of jsonl, json, csv, tsv, parquet; found 'lines'"]),
    "no file of answers": ("answers", {"a": {"limit": 3}}, ["answers.a.file: missing"]),
    "missing file of answers": ("answers", {"a": {"file": "data/*.xml"}}, ["answers.a.file: no file matches 'data/*.xml'"]),
    "unknown field of answers": ("answers", {"a": {"file": "README.md", "columns": {"completion": "x"}}}, ["answers.a.columns.completion", "expected one of id, prompt, messages, response"]),
    "a name for two": ("answers", {"plans": {"file": "README.md"}}, ["answers.plans: a generation has this name too"]),
    "taken down of a stranger": ("exclude", {"prompts": ["plants:1"]}, ["exclude.prompts[0]: no prompt set 'plants'", "'plans'?"]),
    "even turns": ("generations everyday", {"prompts": "everyday", "model": "smollm2", "method": "dialogue", "dialogue": {"turns": 4}}, ["generations.everyday.dialogue: turns must be odd", "found 4"]),
    "partner without a dialogue": ("generations everyday dialogue", {"partner": "smollm2"}, ["generations.everyday.dialogue: only a dialogue has a partner; method is single"]),
    "overlap": ("generations everyday context", {"corpus": "docs", "chunk_words": 40, "overlap_words": 40}, ["generations.everyday.context: overlap_words 40 must be less"]),
    "no corpus": ("generations everyday context", {"corpus": "nowhere"}, ["generations.everyday.context.corpus: no file 'nowhere'"]),
    "a corpus without texts": ("generations everyday context", {"corpus": "rules"}, ["generations.everyday.context.corpus: 'rules' has no text (.md, .txt, .rst)"]),
    "name of another's file": ("prompts a.rejected", {"file": "README.md"}, ["prompts.a.rejected: a prompt set's name may not end in .rejected"]),
    "range": (FILTERS, [{"length_ratio": {}}], ["filters[0].length_ratio", "expected min, max or both"]),
    "range upside down": (FILTERS, [{"length_ratio": {"min": 3, "max": 2}}], ["filters[0].length_ratio", "min 3 is more than max 2"]),
    "tokens unknown": (FILTERS, [{"min_tokens": 3}], ["datasets.plain: min_tokens: needs `tokens`"]),
    "language": (FILTERS, [{"language": ["english"]}], ["filters[0].language"]),
    "own filter": (FILTERS, [{"python": "mine.py"}], ["filters[0].python"]),
    "own filter's file": (FILTERS, [{"python": "mine.py:keep"}], ["filters[0].python: no file 'mine.py'"]),
    "kind of personal data": (FILTERS, [{"pii": ["mail"]}], ["filters[0].pii[0]: expected one of email, phone, iban, card, ip", "'email'?"]),
    "unknown detector": (FILTERS, [{"secrets": {"plugins": ["awss"]}}], ["filters[0].secrets.plugins[0]: expected one of", "'awss'; did you mean 'aws'?"]),
    "critic of single answers": ("datasets plain format", "critic", ["critiques come from tournaments; 'plans' is a single generation"]),
    "unknown source": (f"{SOURCE} generation", "planz", ["datasets.plain.sources[0].generation: no 'planz' in generations or answers", "'plans'?"]),
    "form": ("datasets preferences outputs", ["mlx"], ["datasets.preferences: outputs: mlx cannot hold preference rows; expected of sharegpt, alpaca"]),
    "order": ("datasets plain order", {"by": "length"}, ["datasets.plain.order.by: expected words, tokens, difficulty, category, quality or metadata:KEY; found 'length'"]),
    "match of two": ("datasets plain repeats", [{"times": 2, "any": [{"category": ["a"], "pattern": "b"}]}], ["expected one of category, pattern, metadata and generation"]),
    "any and all": ("datasets plain repeats", [{"times": 2}], ["repeats[0]: expected any or all"]),
    "repeats of a stranger": ("datasets plain repeats", [{"times": 2, "any": [{"generation": "everyday"}]}], ["datasets.plain.repeats[0].any[0].generation: 'everyday' is no source"]),
    "unknown fallback": ("datasets preferences pairs rejected", [{"generation": "contestd"}], ["pairs.rejected[0].generation: no 'contestd'", "'contested'?"]),
    "fallback of other prompts": ("datasets preferences pairs rejected", [{"generation": "everyday"}], ["pairs.rejected[0].generation: 'everyday' answers prompts 'everyday'"]),
    "tokenizer without weights": ("datasets plain tokens", {"model": "api"}, ["datasets.plain.tokens.model: 'api' has backend openai"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fault_names_key_found_and_expected(case: str) -> None:
    path, value, parts = CASES[case]
    study = changed(path, value)
    if case == "tokenizer without weights":
        study["models"]["api"] = {"backend": "openai", "base_url": "http://a/v1", "model": "m"}
    text = fault_of(study)
    assert not [part for part in parts if part not in text], text


OWN = {"file": "data/replay/answers.jsonl", "licence": "mit"}
PLANS = "datasets.plain.sources[0].generation"
OTHERS = "datasets.preferences.pairs.rejected[0].generation"
KINDS = {
    "sft": ("datasets plain format", "sft", []),
    "reasoning": ("datasets plain format", "reasoning", []),
    "critic": ("datasets plain format", "critic", [f"{PLANS}: critiques come from tournaments; 'own' are answers of files"]),
    "preference": ("datasets plain format", "preference", [f"{PLANS}: pairs come from tournaments, or from other models' answers"]),
    "preference over a generation": ("datasets plain", {"format": "preference", "sources": [{"generation": "own"}], "pairs": {"rejected": [{"generation": "plans"}]}}, []),
    "rejected side": ("datasets preferences pairs rejected", [{"generation": "own"}], []),
    "unknown rejected side": ("datasets preferences pairs rejected", [{"generation": "owm"}], [f"{OTHERS}: no 'owm' in generations or answers", "'own'?"]),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_which_datasets_answers_of_files_can_fill(case: str) -> None:
    path, value, parts = KINDS[case]
    study = changed(path, value)
    study["answers"] = {"own": OWN}
    study["adapters"], study["exports"], study["evaluations"] = {}, {}, {}
    study["datasets"] = {name: {**item, "decontaminate": None} for name, item in study["datasets"].items()}
    if path.startswith("datasets plain"):
        study["datasets"]["plain"]["sources"][0]["generation"] = "own"
    if not parts:
        load_plan(study, ROOT, ROOT)
        return
    text = fault_of(study)
    assert not [part for part in parts if part not in text], text


def test_patterns_of_names_find_files_in_order(tmp_path: Path) -> None:
    for name in ("mine/b.jsonl", "mine/a.jsonl", "mine/sub/c.jsonl", "mine/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"prompt": "x"}\n')
    link_workflow(tmp_path, ROOT)
    own = {
        **DEFAULT,
        "prompts": {**DEFAULT["prompts"], "plans": {**DEFAULT["prompts"]["plans"], "file": "mine/**/*.jsonl"}},
    }
    assert load_plan(own, tmp_path, ROOT).prompts_files("plans") == ["mine/a.jsonl", "mine/b.jsonl", "mine/sub/c.jsonl"]
    (tmp_path / "mine/**").mkdir()
    (tmp_path / "mine/**/*.jsonl").write_text('{"prompt": "x"}\n')  # a file that is really called so
    assert load_plan(own, tmp_path, ROOT).prompts_files("plans") == ["mine/**/*.jsonl"]


def test_a_corpus_is_a_file_a_folder_or_a_pattern(tmp_path: Path) -> None:
    for name in ("corpus/b.md", "corpus/a.txt", "corpus/deep/c.md", "corpus/d.pdf", "corpus/.hidden.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    files = StudyFiles(tmp_path, ROOT)
    assert files.find_corpus("corpus") == ["corpus/a.txt", "corpus/b.md", "corpus/deep/c.md"]
    assert files.find_corpus("corpus/b.md") == ["corpus/b.md"]
    assert files.find_corpus("corpus/**/*.md") == ["corpus/b.md", "corpus/deep/c.md"]
    roots = [files.corpus_root(name) for name in ("corpus", "corpus/b.md", "corpus/**/*.md", "*.md")]
    assert roots == ["corpus", "corpus", "corpus", "."]


def test_what_is_not_set_leaves_a_recipe_as_it_was() -> None:
    """Studies written before these keys keep their build keys."""
    plan = load_plan(DEFAULT, ROOT, ROOT)
    assert plan.recipe_prompts("plans").keys() == {"set", "limit", "exclude"}
    assert not plan.recipe_shard("plans", 0).keys() & {"samples", "dialogue", "context"}
