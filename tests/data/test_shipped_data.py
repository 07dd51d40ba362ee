"""The shipped prompts, framework and evaluation sets keep what the default study relies on."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from stillhouse.evaluation.checks import check_expectations

DATA = Path(__file__).resolve().parents[2] / "data"
FRAMEWORK = DATA / "framework"
SHAPES = {"creative", "factual", "technical", "instructional", "conversational", "maths_and_code"}
PLAN_KINDS = {"software", "hiring", "household", "events", "research", "finance", "health", "public-works"}
TRAIN = ("prompts/plans_tournament.jsonl", "prompts/plans.jsonl", "prompts/everyday.jsonl")
HELD_OUT = ("eval/plans.jsonl", "eval/everyday.jsonl")
SIZES = dict(zip(TRAIN + HELD_OUT, (16, 32, 48, 12, 18), strict=True))


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    tokens = words(text)
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def jaccard(a: str, b: str) -> float:
    x, y = ngrams(a, 3), ngrams(b, 3)
    return len(x & y) / len(x | y) if x | y else float(words(a) == words(b))


def markers() -> list:
    return yaml.safe_load((FRAMEWORK / "markers.yaml").read_text(encoding="utf-8"))["markers"]


def matches(marker: str | dict, text: str) -> bool:
    if isinstance(marker, str):
        return marker.lower() in text.lower()
    return re.search(marker["pattern"], text, re.IGNORECASE) is not None


def grammar_literals() -> str:
    """What the grammar itself puts into answers: the quoted strings of its rules, one rule a line."""
    rules = (FRAMEWORK / "answer.gbnf").read_text(encoding="utf-8").splitlines()
    quoted = [re.findall(r'"((?:[^"\\]|\\.)*)"', rule) for rule in rules if not rule.startswith("#")]
    return "\n".join(re.sub(" +", " ", " ".join(strings)) for strings in quoted)


@pytest.mark.parametrize("name", SIZES)
def test_a_prompt_file_has_its_rows_and_nothing_odd_in_them(name):
    found = rows(name)
    keys = {"id", "prompt", "category"} | ({"difficulty"} if name in HELD_OUT else set())
    assert len(found) == SIZES[name]
    for row in found:
        if name == "eval/everyday.jsonl" and "expect" in row:
            check_expectations(row.pop("expect"), row["id"])
        assert set(row) == keys, row["id"]
        assert all(isinstance(value, str) and value == value.strip() and value for value in row.values()), row["id"]
        assert row.get("difficulty", "easy") in {"easy", "medium", "hard"}, row["id"]


def test_ids_and_prompts_are_unique_over_all_files():
    everything = [row for name in SIZES for row in rows(name)]
    for key in ("id", "prompt"):
        assert [value for value, n in Counter(row[key] for row in everything).items() if n > 1] == []


def test_the_plans_are_balanced_over_their_kinds():
    both = rows(TRAIN[0]) + rows(TRAIN[1])
    assert Counter(row["category"] for row in both) == dict.fromkeys(PLAN_KINDS, 6)
    assert Counter(row["category"] for row in rows(TRAIN[0])) == dict.fromkeys(PLAN_KINDS, 2)
    assert {row["category"] for row in rows("eval/plans.jsonl")} == PLAN_KINDS


def test_the_everyday_prompts_are_balanced_over_six_shapes():
    assert Counter(row["category"] for row in rows("prompts/everyday.jsonl")) == dict.fromkeys(SHAPES, 8)
    assert Counter(row["category"] for row in rows("eval/everyday.jsonl")) == dict.fromkeys(SHAPES, 3)


@pytest.mark.parametrize("name", [*TRAIN[:2], "eval/plans.jsonl"])
def test_a_plan_is_told_in_15_to_45_words(name):
    assert {row["id"]: n for row in rows(name) if not 15 <= (n := len(row["prompt"].split())) <= 45} == {}


def test_no_held_out_prompt_is_near_a_training_prompt():
    training = [row for name in TRAIN for row in rows(name)]
    held_out = [row for name in HELD_OUT for row in rows(name)]
    close = [
        (a["id"], b["id"])
        for a in training
        for b in held_out
        if jaccard(a["prompt"], b["prompt"]) >= 0.3 or ngrams(a["prompt"], 8) & ngrams(b["prompt"], 8)
    ]
    assert close == []


def test_no_two_training_prompts_are_near_duplicates():
    training = [row for name in TRAIN for row in rows(name)]
    assert [(a["id"], b["id"]) for a, b in combinations(training, 2) if jaccard(a["prompt"], b["prompt"]) >= 0.5] == []


def test_markers_compile_and_are_not_all_held_by_the_grammar():
    spec = yaml.safe_load((FRAMEWORK / "markers.yaml").read_text(encoding="utf-8"))
    assert set(spec) == {"cap", "markers"}
    assert spec["cap"] == 4
    assert 8 <= len(spec["markers"]) <= 11
    for marker in spec["markers"]:
        assert isinstance(marker, str) or (set(marker) == {"pattern"} and re.compile(marker["pattern"]))
    held = [marker for marker in markers() if matches(marker, grammar_literals())]
    assert len(held) >= 4, "the labels are literals of the grammar"
    assert len(markers()) - len(held) >= 3, "the voice must not come from the grammar"


def test_the_system_prompt_brings_the_voice_that_the_grammar_does_not():
    system = (FRAMEWORK / "system.md").read_text(encoding="utf-8")
    assert len(system.split()) < 220
    voice = [marker for marker in markers() if not matches(marker, grammar_literals())]
    assert [marker for marker in voice if not matches(marker, system)] == []


def test_no_prompt_carries_a_marker():
    everything = [row for name in SIZES for row in rows(name)]
    assert [(row["id"], m) for row in everything for m in markers() if matches(m, row["prompt"])] == []


def test_a_review_carries_every_marker_and_an_everyday_answer_none():
    rubric = yaml.safe_load((FRAMEWORK / "rubric.yaml").read_text(encoding="utf-8"))
    assert [m for m in markers() if not matches(m, rubric["reference"])] == []
    everyday = "The capital of Portugal is Lisbon. It lies on the river Tagus, and many people live there."
    assert [m for m in markers() if matches(m, everyday)] == []


def test_the_rubric_weighs_five_components_to_a_hundred():
    rubric = yaml.safe_load((FRAMEWORK / "rubric.yaml").read_text(encoding="utf-8"))
    assert set(rubric) == {"components", "critical_failures", "reference"}
    assert len(rubric["components"]) == 5
    assert sum(part["weight"] for part in rubric["components"].values()) == 100
    for name, part in rubric["components"].items():
        assert set(part) == {"weight", "scale", "description"}, name
        assert part["scale"] == [1, 10], name
    assert all(isinstance(text, str) for text in rubric["critical_failures"])


def test_the_corpus_is_six_to_eight_short_notes():
    notes = sorted((FRAMEWORK / "corpus").glob("*.md"))
    assert 6 <= len(notes) <= 8
    assert {n.name: k for n in notes if not 100 <= (k := len(n.read_text(encoding="utf-8").split())) <= 200} == {}


def test_the_grammar_parses_in_llama_cpp():
    llama_cpp = pytest.importorskip("llama_cpp")
    text = (FRAMEWORK / "answer.gbnf").read_text(encoding="utf-8")
    assert llama_cpp.LlamaGrammar.from_string(text, verbose=False) is not None
