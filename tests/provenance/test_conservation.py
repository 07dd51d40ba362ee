"""Conservation on a whole results tree: nothing is missing as it was built, and every row taken out by hand is missed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillhouse.provenance.conservation import check_conservation
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json, write_json
from stillhouse.provenance.records import write_record


@pytest.fixture
def tree(recorded_tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded_tree, tmp_path / "tree", symlinks=True))


def rewrite(file: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows of a parquet file, as by hand: the record beside it stays as it was."""
    table = pq.read_table(file)
    file.unlink()  # the store holds a link to the same bytes
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), file)


@pytest.mark.slow
def test_a_finished_tree_loses_nothing(recorded_tree: Path) -> None:
    assert check_conservation(recorded_tree) == []
    flow = read_json(recorded_tree / "results/datasets/plain/report.json")["flow"]
    assert flow[0] == {
        "stage": "generation", "source": "plans", "unit": "prompts", "in": 9, "kept": 8, "dropped": {"failed at teacher": 1},
    }  # fmt: skip


FILES = {
    "results/prompts/plans.parquet": "results/prompts/plans.parquet: prompts: 10 in",
    "results/generations/plans/shards/1.parquet": "results/generations/plans/record.json: prompts in the shards: 1 lost",
    "results/generations/plans/answers.parquet": "results/generations/plans/record.json: prompts answered or failed: 1 lost",
    "results/generations/plans/failures.parquet": "results/generations/plans/record.json: prompts answered or failed: 1 lost",
    "results/datasets/plain/train.parquet": "results/datasets/plain/record.json: the flow ends with 10 rows, and 9 are",
    "results/evaluations/held/prompts/held.parquet": "results/evaluations/held/prompts/held.parquet: prompts: 3 in",
    "results/evaluations/held/responses/gold.parquet": "results/evaluations/held/responses/gold.parquet: 1 lost",
    "results/evaluations/held/judgements/markers.parquet": "results/evaluations/held/judgements/markers.parquet: 1 lost",
}
"""A file that loses a row, and what is told then."""


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_one_row_removed_by_hand_is_found_and_its_file_named(tree: Path, file: str) -> None:
    rewrite(tree / file, lambda rows: rows[1:])
    faults = check_conservation(tree)
    assert [fault for fault in faults if fault.startswith(FILES[file])], faults


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_one_row_that_is_there_twice_is_found(tree: Path, file: str) -> None:
    rewrite(tree / file, lambda rows: [*rows, rows[0]])
    assert check_conservation(tree)


@pytest.mark.slow
def test_a_row_in_place_of_another_is_found(tree: Path) -> None:
    file = "results/datasets/plain/train.parquet"
    rewrite(tree / file, lambda rows: [{**rows[0], "id": "nobody"}, *rows[1:]])
    assert [fault for fault in check_conservation(tree) if ":nobody (" in fault]


def spoil_kept(report: dict[str, Any]) -> None:
    report["sources"][0]["dropped"]["min_words"] = 1


def spoil_step(report: dict[str, Any]) -> None:
    report["flow"][2]["dropped"]["min_words"] = 1


def spoil_chain(report: dict[str, Any]) -> None:
    for key in ("in", "kept"):
        report["flow"][-2][key] += 1


def spoil_end(report: dict[str, Any]) -> None:
    for step in report["flow"]:
        step["in"] += 1
        step["kept"] += 1


def spoil_list(report: dict[str, Any]) -> None:
    report["duplicates"].append({})


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [spoil_kept, spoil_step, spoil_chain, spoil_end, spoil_list])
def test_books_that_do_not_agree_with_the_files_are_found(tree: Path, spoil: Callable[[dict], None]) -> None:
    file = tree / "results/datasets/plain/report.json"
    report = read_json(file)
    spoil(report)
    file.unlink()
    write_json(file, report)
    assert check_conservation(tree)


@pytest.mark.slow
def test_the_users_file_may_change_after_the_build(tree: Path) -> None:
    with open(tree / "plans.jsonl", "a", encoding="utf-8") as stream:
        stream.write(json.dumps({"prompt": "One more?"}) + "\n")
    assert check_conservation(tree) == []
    (tree / "plans.jsonl").unlink()
    assert check_conservation(tree) == []


@pytest.mark.slow
def test_what_cannot_be_read_is_a_fault_and_stops_nothing(tree: Path) -> None:
    answers = tree / "results/generations/plans/answers.parquet"
    answers.unlink()
    answers.write_text("no parquet")
    (tree / "results/prompts/short.parquet.record.json").unlink()
    faults = check_conservation(tree)
    assert [fault for fault in faults if fault.startswith("results/generations/plans/record.json: cannot be checked")]
    assert [fault for fault in faults if fault.startswith("results/prompts/short.parquet: cannot be checked")]


def test_an_empty_folder_has_nothing_to_lose(tmp_path: Path) -> None:
    assert check_conservation(tmp_path) == []


# judges, on files made by hand


def judged_tree(root: Path, kind: str, rows: list[dict[str, Any]]) -> list[str]:
    """Faults of an evaluation of two subjects, two target prompts and a forgetting one, with `rows` as judgements."""
    folder = root / "results/evaluations/e"
    answers = folder / "responses/all.parquet"
    prompts = [("plans", "a", "target"), ("plans", "b", "target"), ("day", "c", "forgetting")]
    answered = [
        {"subject": s, "set": name, "prompt_id": p, "role": role, "sample": sample, "expect": '[{"json":true}]'}
        for s in ("student", "vanilla")
        for name, p, role in prompts
        for sample in (0, 1)
    ]
    for file, table in ((answers, answered), (folder / f"judgements/{kind}.parquet", rows)):
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(table), file)
    recipe = {
        "judges": ["j", "k", "j"],
        "limit": 1,
        "repeats": 2,
        "subjects": ["student"],
        "pairs": [["student", "vanilla"]],
        "control": "vanilla",
    }
    path = answers.relative_to(root).as_posix()
    record = {"inputs": [{"name": "responses", "path": path}], "artefacts": [], "recipe": recipe, "facts": {}}
    write_record(folder / f"judgements/{kind}.parquet.record.json", record)
    prompt = {"name": "prompts", "path": path}
    write_record(answers.with_name("all.parquet.record.json"), {"inputs": [prompt], "artefacts": []})
    return [fault for fault in check_conservation(root) if "judgements" in fault]


RUBRIC = [
    {"subject": "student", "set": "plans", "prompt_id": "a", "sample": sample, "judge": judge, "repeat": repeat}
    for sample in (0, 1)
    for judge in ("j", "k")
    for repeat in (0, 1)
]
ASKED = [(judge, order) for judge in ("j", "k") for order in ("first_second", "second_first")]
PAIRWISE = [
    {"first": first, "second": "vanilla", "set": "plans", "prompt_id": "a", "sample": sample, "repeat": repeat}
    | {"judge": judge, "order": order}
    for first, sample in (("student", 0), ("student", 1), ("vanilla", 0))
    for repeat in (0, 1)
    for judge, order in ASKED
]
ANSWERS = [
    {"subject": s, "set": name, "prompt_id": p, "sample": sample}
    for s in ("student", "vanilla")
    for name, p in (("plans", "a"), ("plans", "b"), ("day", "c"))
    for sample in (0, 1)
]
CHECKS = [{**row, "number": 0} for row in ANSWERS]
BREAKS = [{**row, "judge": None} for row in ANSWERS]
BREAKS += [{**row, "judge": judge} for row in ANSWERS if row["prompt_id"] == "a" for judge in ("j", "k")]


def sourced(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Live verdicts, and one that was recorded elsewhere, which nobody had to ask for."""
    recorded = {**rows[0], "judge": "somebody", "source": "recorded"}
    return [*({**row, "source": "live"} for row in rows), recorded]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [("rubric", sourced(RUBRIC)), ("pairwise", sourced(PAIRWISE)), ("checks", CHECKS), ("breaks", BREAKS)],
)
def test_every_verdict_that_was_asked_for_is_there(tmp_path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    assert judged_tree(tmp_path, kind, rows) == []
    assert "1 lost" in judged_tree(tmp_path, kind, rows[1:])[0]
    assert "1 foreign or doubled" in judged_tree(tmp_path, kind, [*rows, rows[0]])[0]


def test_every_verdict_of_an_external_check_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "results/generations/g"
    folder.mkdir(parents=True)
    texts = [("c", "new", "old"), ("a", "new", "old"), ("b", "same", "same")]
    answers = [{"prompt_id": name, "answer": answer, "draft": draft} for name, answer, draft in texts]
    pq.write_table(pa.Table.from_pylist(answers), folder / "answers.parquet")
    inputs = [{"name": "answers", "path": "results/generations/g/answers.parquet"}]
    recipe = {"judges": ["j", "k", "j"], "limit": 2}
    write_record(folder / "check.parquet.record.json", {"inputs": inputs, "artefacts": [], "recipe": recipe})
    asked = [{"prompt_id": "a", "judge": judge, "order": order} for judge, order in ASKED]
    whole = [*asked, {"prompt_id": "b", "judge": None, "order": None}]
    for rows, told in ((whole, []), (whole[1:], ["1 lost"]), ([*whole, whole[-1]], ["1 foreign or doubled"])):
        pq.write_table(pa.Table.from_pylist(rows), folder / "check.parquet")
        faults = [fault for fault in check_conservation(tmp_path) if "check.parquet" in fault]
        assert [told[0] in fault for fault in faults] == [True] * len(told), faults


def test_every_answer_has_a_line_of_scores(tmp_path: Path) -> None:
    folder = tmp_path / "results/generations/g"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"prompt_id": ["a", "a", "b"], "sample": [0, 1, 0]}), folder / "answers.parquet")
    inputs = [{"name": "answers", "path": "results/generations/g/answers.parquet"}]
    write_record(folder / "quality.parquet.record.json", {"inputs": inputs, "artefacts": [], "recipe": {}})
    whole = [("a", 0, 7.0, None), ("a", 1, None, "the call failed"), ("b", 0, 1.0, None)]
    silent = [*whole[:2], ("b", 0, None, None)]
    for rows, told in (
        (whole, []),
        (whole[1:], ["1 lost"]),
        ([*whole, whole[0]], ["1 foreign"]),
        (silent, ["prompt b"]),
    ):
        names = ("prompt_id", "sample", "score", "failure")
        table = [dict(zip(names, row, strict=True)) for row in rows]
        pq.write_table(pa.Table.from_pylist(table), folder / "quality.parquet")
        faults = [fault for fault in check_conservation(tmp_path) if "quality.parquet" in fault]
        assert [told[0] in fault for fault in faults] == [True] * len(told), faults


def answers_tree(root: Path, rows: list[tuple[str, int]], rejected: int, facts: dict[str, int]) -> list[str]:
    """Faults of a folder of answers that were read out of a file of six lines."""
    folder = root / "results/answers/own"
    folder.mkdir(parents=True, exist_ok=True)
    source = root / "pairs.jsonl"
    source.write_text('{"prompt": "?"}\n' * 6)
    schema = pa.schema([("prompt_id", pa.string()), ("sample", pa.int32())])
    table = [{"prompt_id": prompt, "sample": sample} for prompt, sample in rows]
    pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / "answers.parquet")
    lines = pa.table({"line": pa.array(range(rejected), pa.int64())})
    pq.write_table(lines, folder / "rejected.parquet")
    inputs = [{"name": "source", "path": "pairs.jsonl", "sha256": digest_file(source)}]
    write_record(folder / "record.json", {"inputs": inputs, "artefacts": [], "recipe": {"limit": None}, "facts": facts})
    return check_conservation(root)


def test_every_line_of_answers_is_kept_or_counted(tmp_path: Path) -> None:
    rows, facts = [("a", 0), ("a", 1), ("b", 0)], {"repeated": 1, "excluded": 1, "rejected": 1, "over_limit": 0}
    assert answers_tree(tmp_path, rows, 1, facts) == []
    told = "results/answers/own/record.json: "
    assert answers_tree(tmp_path, rows[1:], 1, facts)[0].startswith(f"{told}answers: 6 in, 2 kept")
    doubled = answers_tree(tmp_path, [*rows[:2], rows[0]], 1, facts)
    assert doubled == [f"{told}1 foreign or doubled: ('a', 0)"]
    assert answers_tree(tmp_path, rows, 2, facts) == [f"{told}1 rows rejected, and 2 are listed"]
