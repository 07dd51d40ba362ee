"""Answers that were read beside their prompts: traced back to the file, and forward into the dataset."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from traced_house import record

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.settings import BuildSettings
from stillhouse.evaluation.answer_scores import SCORES
from stillhouse.prompts.answered import write_answers
from stillhouse.prompts.collect import collect
from stillhouse.prompts.fetch import REJECTED_SCHEMA
from stillhouse.prompts.settings import CollectSettings
from stillhouse.provenance.call_facts import CallBook
from stillhouse.provenance.files import parquet_sink, read_parquet_rows, write_parquet
from stillhouse.provenance.impact import Impact, find_set
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.rows import RowStory, find_prompt
from stillhouse.provenance.show_row import row_tree
from stillhouse.provenance.tables import Tables
from stillhouse.provenance.verify import verify

SOURCE = "data/pairs.jsonl"
ANSWERS, REJECTED = "results/answers/own/answers.parquet", "results/answers/own/rejected.parquet"
DATASET = "results/datasets/mixed"
TRAIN, DROPPED = f"{DATASET}/train.parquet", f"{DATASET}/dropped.parquet"
PAIRS = [
    ("p-1", "Shall we open a bakery?", "Hold it until the rent is known to all of us."),
    ("p-2", "Shall we open a bakery?", "No."),
    ("p-3", "Shall we close the harbour?", "Rework the plan from its weakest joint on."),
]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Answers of one file, of which a dataset drops the shortest."""
    with contextlib.chdir(tmp_path):
        Path(SOURCE).parent.mkdir()
        lines = [json.dumps({"id": name, "prompt": prompt, "response": text}) for name, prompt, text in PAIRS]
        Path(SOURCE).write_text("".join(f"{line}\n" for line in lines))
        recipe = {"set": "own", "answers": True}
        Path(ANSWERS).parent.mkdir(parents=True)
        with parquet_sink(REJECTED, REJECTED_SCHEMA, 10) as reject:
            collected = collect([Path(SOURCE)], CollectSettings.model_validate(recipe), reject)
        write_answers(Path(ANSWERS), collected.kept, "own")
        made = [ANSWERS, REJECTED]
        place = "results/answers/own/record.json"
        record("collect_answers", {"answers": "own"}, made, {"source": [SOURCE]}, recipe, place=place)
        plan = {
            "sources": [{"generation": "own", "filters": [{"min_words": 3}]}],
            "split": {"train": 1.0, "valid": 0.0},
        }
        settings = BuildSettings.model_validate({"name": "mixed", "dataset": plan})
        build_dataset(settings, {"own": Path(ANSWERS)}, [], Path(DATASET), threads=1)
        files = [f"{DATASET}/{name}" for name in ("train.parquet", "valid.parquet", "test.parquet", "dropped.parquet")]
        files.append(f"{DATASET}/report.json")
        told = settings.model_dump(mode="json")
        record(
            "build_dataset", {"dataset": "mixed"}, files, {"answers": [ANSWERS]}, told, place=f"{DATASET}/record.json"
        )
    return tmp_path


def tables_of(house: Path) -> Tables:
    return Tables(Lineage(house))


def story(house: Path, name: str, within: str | None = None) -> dict[str, Any]:
    tables = tables_of(house)
    table = tables.get(within) if within else None
    facts = RowStory(tables, CallBook(None), find_prompt(tables, name, table), table).facts()
    assert tables.damaged == []
    return json.loads(json.dumps(facts))


def test_a_row_leads_back_to_the_users_file(house: Path) -> None:
    facts = story(house, "p-1")
    assert {one["id"] for one in facts["prompts"]} == {"p-1", "p-2"}
    assert {one["sources"][0]["path"] for one in facts["prompts"]} == {SOURCE}
    assert {(one["answer"], one["method"], one["answered_by"]) for one in facts["answers"]} == {
        (text, "recorded", "collect_answers answers=own") for name, _, text in PAIRS if name != "p-3"
    }
    assert all(one["calls"] == one["rounds"] == [] for one in facts["answers"])


def test_each_sample_has_its_own_fate(house: Path) -> None:
    answers = {one["id"]: one["sample"] for one in story(house, "p-2")["answers"]}
    datasets = story(house, "p-2")["datasets"]
    fates = [(len(one["rows"]), one["dropped"]) for one in datasets]
    expected = {answers["p-1"]: (1, []), answers["p-2"]: (0, ["min_words: 3"])}
    assert fates == [expected[0], expected[1]]


def test_a_row_of_the_dataset_leads_back_too(house: Path) -> None:
    facts = story(house, "p-3", TRAIN)
    assert [one["file"] for one in facts["prompts"]] == [ANSWERS]
    assert [one["split"] for one in facts["datasets"][0]["rows"]] == ["train"]


def test_a_score_is_told_with_its_answer(house: Path) -> None:
    quality, call = "results/answers/own/quality.parquet", "ab" * 32
    with contextlib.chdir(house):
        rows = [
            {name: row[name] for name in ("prompt_id", "set", "id", "sample")}
            | {"judge": "j", "score": float(len(row["answer"]) % 10), "scores": [1.0, None], "reason": row["answer"]}
            | {"failure": None, "calls": [call]}
            for row in read_parquet_rows(Path(ANSWERS))
        ]
        write_parquet(quality, rows, SCORES)
        record("score_answers", {"kind": "answers", "scored": "own"}, [quality], {"answers": [ANSWERS]}, {"judge": "j"})
    facts = story(house, "p-1")
    assert len(facts["answers"]) == 2  # of one prompt: each sample has its own
    for answer in facts["answers"]:
        (score,) = answer["scores"]
        assert (score["reason"], score["file"]) == (answer["answer"], quality)
        assert [(one["digest"], one["role"]) for one in score["calls"]] == [(call, "judge")]
    told = Console(width=300, record=True, file=io.StringIO())
    told.print(row_tree(facts))
    assert "quality, judge j: 3: No. (median of 1, none)" in told.export_text()


@pytest.mark.parametrize("how", ["prompt", "set", "source"])
def test_what_came_of_them(house: Path, how: str) -> None:
    tables = tables_of(house)
    if how == "prompt":
        reached = Impact(tables).of_prompt(find_prompt(tables, "p-3"))
    elif how == "set":
        assert find_set(tables, "answers") == []
        reached = Impact(tables).of_jobs(find_set(tables, "own"))
    else:
        reached = Impact(tables).of_path(SOURCE)
    rows = {one.path: (one.rows, one.of) for one in reached if one.rows}
    expected = {ANSWERS: (1, 3), TRAIN: (1, 2)} if how == "prompt" else {ANSWERS: (3, 3), TRAIN: (2, 2)}
    assert rows == expected


def test_rows_without_calls_need_no_ledger(house: Path) -> None:
    found = verify(Lineage(house), None, house / "results/ledger")
    assert [fault.reason for fault in found.faults] == []
    assert len(read_parquet_rows(house / DROPPED)) == 1
