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
    ],
)
def test_faults_of_an_evaluation(tmp_path: Path, change: dict, words: str) -> None:
    write(tmp_path, "facts")
    entry = study([], [])
    entry["evaluations"]["e"].update(change)
    with pytest.raises(StudyError) as caught:
        load_plan(entry, tmp_path, ROOT)
    assert words in str(caught.value)
