"""Guarded and reported categories must have prompts, and planning says so before any run."""

import json
from pathlib import Path

import pytest

from stillhouse.errors import StudyError
from stillhouse.study.files import link_workflow
from stillhouse.study.plan import load_plan

ROOT = Path(__file__).parents[2]
MODELS = {"m": {"backend": "llama_cpp", "weights": "embedded"}}


def write(folder: Path, *categories: str) -> Path:
    link_workflow(folder, ROOT)
    file = folder / "prompts.jsonl"
    rows = [{"id": str(n), "prompt": f"Question {n}?", "category": c} for n, c in enumerate(categories)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def study(guarded: list[str], shown: list[str], **prompts: object) -> dict:
    guard = {"candidate": "a", "baseline": "b", "categories": guarded}
    evaluation = {
        "prompts": {"p": {"file": "prompts.jsonl", **prompts}},
        "subjects": {"a": {"model": "m"}, "b": {"model": "m"}},
        "rubric": {"judges": ["m"]},
        "categories": shown,
        "gates": {"guards": [guard]} if guarded else {},
    }
    return {"study": "s", "models": MODELS, "evaluations": {"e": evaluation}}


def test_a_guarded_category_without_prompts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "facts", "voice")
    with pytest.raises(StudyError, match=r"gates\.guards\[0\]\.categories: .*'position'.* facts, voice"):
        load_plan(study(["facts", "position"], []), tmp_path, ROOT)
    load_plan(study(["facts", "voice"], ["voice"]), tmp_path, ROOT)


def test_a_reported_category_without_prompts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "facts")
    with pytest.raises(StudyError, match=r"evaluations\.e\.categories: .*'voice'"):
        load_plan(study([], ["voice"]), tmp_path, ROOT)


def test_a_category_that_the_set_leaves_out_counts_as_absent(tmp_path: Path) -> None:
    write(tmp_path, "facts", "voice")
    with pytest.raises(StudyError, match="'voice'"):
        load_plan(study(["voice"], [], except_categories=["voice"]), tmp_path, ROOT)
    with pytest.raises(StudyError, match="'voice'"):
        load_plan(study(["voice"], [], categories=["facts"]), tmp_path, ROOT)


def test_a_guard_by_the_rubric_needs_the_category_on_a_target_set(tmp_path: Path) -> None:
    write(tmp_path, "facts", "voice")
    entry = study(["voice"], [])
    entry["evaluations"]["e"]["prompts"] = {
        "facts": {"file": "prompts.jsonl", "categories": ["facts"]},
        "talk": {"file": "prompts.jsonl", "categories": ["voice"], "role": "forgetting"},
    }
    with pytest.raises(StudyError, match="no prompt of a target set has category 'voice'; there are facts"):
        load_plan(entry, tmp_path, ROOT)


def test_recorded_judgements_tell_categories_too(tmp_path: Path) -> None:
    write(tmp_path, "facts")
    guard = {"candidate": "a", "baseline": "b", "categories": ["facts", "voice"]}
    evaluation = {"rubric": {"recorded": {"a": "prompts.jsonl", "b": "prompts.jsonl"}}, "gates": {"guards": [guard]}}
    with pytest.raises(StudyError, match="'voice'"):
        load_plan({"study": "s", "evaluations": {"e": evaluation}}, tmp_path, ROOT)


def test_a_data_folder_stands_in_paths(tmp_path: Path) -> None:
    write(tmp_path, "facts")
    entry = study(["facts"], [])
    entry["evaluations"]["e"]["prompts"]["p"]["file"] = "{data}/prompts.jsonl"
    with pytest.raises(StudyError, match=r"evaluations\.e\.prompts\.p\.file: .*--config data=FOLDER"):
        load_plan(entry, ROOT, ROOT)
    plan = load_plan({**entry, "data": str(tmp_path)}, ROOT, ROOT)
    assert plan.evaluation_prompts_file("e", "p") == f"{tmp_path}/prompts.jsonl"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairwise": {"pairs": [["a", "b"]]}}, "pairs need judges"),
        ({"pairwise": {"judges": ["m"]}}, "needs pairs, a round_robin, or recorded"),
        ({"pairwise": {"round_robin": ["a"], "judges": ["m"]}}, "two subjects"),
        ({"pairwise": {"pairs": [["a", "b"], ["b", "a"]], "judges": ["m"]}}, "the other way round"),
        ({"pairwise": {"pairs": [["a", "a"]], "judges": ["m"]}}, "`control`"),
        ({"rubric": {}}, "needs judges, or recorded judgements"),
        ({"gates": {"breaks": 0.1}}, "measures no breaks"),
        ({"gates": {"win_rate": {"a_vs_b": 0.5}}}, "compares no pairs"),
        (
            {"pairwise": {"pairs": [["a", "b"]], "judges": ["m"]}, "gates": {"win_rate": {"b_vs_a": 0.5}}},
            "did you mean 'a_vs_b'",
        ),
        ({"gates": {"guards": [{"candidate": "c", "baseline": "b", "categories": ["facts"]}]}}, "no 'c' in subjects"),
        ({"subjects": {"a": {"recorded": "prompts.jsonl", "system": "prompts.jsonl"}}}, "recorded answers are given"),
        ({"subjects": {}, "rubric": None}, "needs subjects, or recorded"),
        ({"pairwise": {"round_robin": ["a", "a"], "judges": ["m"]}}, "each once"),
        ({"pairwise": {"recorded": "prompts.jsonl", "reasons": True}}, "reasons: verdicts are recorded"),
        ({"pairwise": {"pairs": [["a", "b"]], "judges": ["m"], "axes": ["overall"]}}, "no word of a verdict"),
        ({"pairwise": {"pairs": [["a", "b"]], "judges": ["m"], "axes": ["Reason"]}}, "found 'Reason'"),
        ({"pairwise": {"pairs": [["a", "b"]], "judges": ["m"], "axes": ["A-b", "a_B"]}}, "names that differ"),
        ({"rubric": {"recorded": {"a": "prompts.jsonl"}, "limit": 3}}, "limit: judgements are recorded"),
        ({"breaks": {"limit": 3}}, "only judges have a limit"),
        ({"gates": {"checks": 0.5}}, "measures no checks"),
        ({"markers": "data/framework/markers.yaml", "gates": {"leakage": 0.1}}, "no prompt set has role forgetting"),
        ({"gates": {"rubric": 5}}, "no subject has condition 'student'"),
        (
            {
                "rubric": {"judges": ["m"], "subjects": ["a"]},
                "gates": {"guards": [{"candidate": "a", "baseline": "b", "categories": ["facts"]}]},
            },
            "'b' is not judged by the rubric",
        ),
        (
            {
                "rubric": {"judges": ["m"], "limit": 2},
                "gates": {"guards": [{"candidate": "a", "baseline": "b", "categories": ["facts"]}]},
            },
            "rubric.limit would leave",
        ),
        (
            {"gates": {"guards": [{"candidate": "a", "baseline": "b", "categories": ["facts"], "metric": "checks"}]}},
            "measures no checks",
        ),
    ],
)
def test_faults_of_an_evaluation(tmp_path: Path, change: dict, words: str) -> None:
    write(tmp_path, "facts")
    entry = study([], [])
    entry["evaluations"]["e"].update(change)
    with pytest.raises(StudyError) as caught:
        load_plan(entry, tmp_path, ROOT)
    assert words in str(caught.value)


def test_a_round_robin_does_not_ask_a_named_pair_again(tmp_path: Path) -> None:
    write(tmp_path, "facts")
    entry = study([], [])
    entry["evaluations"]["e"]["subjects"]["c"] = {"model": "m"}
    entry["evaluations"]["e"]["pairwise"] = {"pairs": [["b", "a"]], "round_robin": ["a", "b", "c"], "judges": ["m"]}
    plan = load_plan(entry, tmp_path, ROOT)
    assert plan.recipe_pairwise("e")["pairs"] == [["b", "a"], ["a", "c"], ["b", "c"]]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ({"backend": "openai", "base_url": "http://a/v1", "model": "qwen/qwen3.6-plus"}, "qwen"),
        ({"backend": "openai", "base_url": "http://a/v1", "model": "together/Qwen2.5-7B-Instruct"}, "qwen"),
        ({"backend": "openai", "base_url": "http://a/v1", "model": "o3-mini"}, "gpt"),
        ({"backend": "openai", "base_url": "http://a/v1", "model": "HuggingFaceTB/SmolLM2-1.7B"}, "smollm"),
        ({"backend": "openai", "base_url": "http://a/v1", "model": "house-model-7"}, None),
        ({"backend": "openai", "base_url": "http://a/v1", "model": "house-model-7", "family": "ours"}, "ours"),
        ({"backend": "llama_cpp", "weights": "embedded"}, "smollm"),
    ],
)
def test_families_are_told_or_guessed(tmp_path: Path, model: dict, family: str | None) -> None:
    write(tmp_path, "facts")
    entry = study([], [])
    entry["models"] = {"m": model}
    report = load_plan(entry, tmp_path, ROOT).recipe_report("e")
    assert report["families"] == {"a": family, "b": family}
    assert report["judge_families"] == {"m": family}
