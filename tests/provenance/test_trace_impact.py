"""What came of a prompt, a set, a source or a file; and why two artefacts differ."""

import contextlib
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from traced_house import DAYS, PLANS, REFUSED, SHORT, copied, record

from stillhouse.errors import RecordError
from stillhouse.provenance.changes import ABSENT
from stillhouse.provenance.differences import Step, flat, steps_between
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.provenance.impact import Impact, Reached, find_set
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.records import read_record, write_record
from stillhouse.provenance.row_differences import dataset_rows_between
from stillhouse.provenance.rows import find_prompt
from stillhouse.provenance.tables import Tables
from stillhouse.tournament.columns import ANSWERS

TRAIN = "results/datasets/mixed/train.parquet"
GGUF = "results/exports/mixed/mixed-Q8_0.gguf"
PAGE = "results/evaluations/held/report.html"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the small results folder, with its sources."""
    return copied(tmp_path)


def tables_of(house: Path) -> Tables:
    return Tables(Lineage(house))


def of_prompt(house: Path, name: str) -> dict[str, Reached]:
    tables = tables_of(house)
    reached = Impact(tables).of_prompt(find_prompt(tables, name))
    assert tables.damaged == []
    return {one.path: one for one in reached}


def rows_with(house: Path, prompt_id: str) -> dict[str, int]:
    """Rows of a prompt by file, counted the plain way; what a dataset dropped reaches nothing."""
    found = {}
    for node in Lineage(house).nodes:
        for path in node.artefacts:
            if path.endswith(".parquet") and not path.endswith("/dropped.parquet"):
                count = sum(row["prompt_id"] == prompt_id for row in read_parquet_rows(house / path))
                found |= {path: count} if count else {}
    return found


@pytest.mark.parametrize(
    "name", ["plan-0", "plan-7", f"plan-{PLANS.index(REFUSED)}", f"day-{DAYS.index(SHORT)}", "day-0", "held-1"]
)
def test_rows_are_those_that_plain_counting_finds(house: Path, name: str) -> None:
    reached = of_prompt(house, name)
    prompt_id = find_prompt(tables_of(house), name)
    assert {one.path: one.rows for one in reached.values() if one.how == "rows"} == rows_with(house, prompt_id)


def test_a_trained_prompt_reaches_adapter_gguf_and_report(house: Path) -> None:
    row = next(row for row in read_parquet_rows(house / TRAIN) if row["generation"] == "everyday")
    reached = of_prompt(house, row["prompt_id"])
    made = {path for path, one in reached.items() if one.how == "made from it"}
    assert {"results/adapters/mixed/adapter_model.safetensors", GGUF, PAGE} <= made
    assert reached["results/adapters/mixed/adapter_model.safetensors"].through == ("train",)
    assert not any("plain" in path for path in reached)
    assert reached["results/evaluations/held/responses/student.parquet"].how == "made from it"
    assert "results/evaluations/held/responses/gold.parquet" not in reached


def test_a_dropped_prompt_reaches_no_adapter_and_says_why(house: Path) -> None:
    reached = of_prompt(house, f"day-{DAYS.index(SHORT)}")
    absent = [one for one in reached.values() if one.how == "without it"]
    assert [(one.node.job, one.why) for one in absent] == [("build_dataset dataset=mixed", ("min_words: 3",))]
    assert not any(path.startswith(("results/adapters", "results/exports", "results/evaluations")) for path in reached)


def test_a_failed_prompt_stands_in_failures_alone(house: Path) -> None:
    reached = of_prompt(house, f"plan-{PLANS.index(REFUSED)}")
    assert reached["results/generations/plans/failures.parquet"].rows == 1
    assert "results/generations/plans/answers.parquet" not in reached
    assert not any(path.startswith("results/datasets") for path in reached)


def test_a_held_out_prompt_reaches_judgements_and_no_weights(house: Path) -> None:
    reached = of_prompt(house, "held-0")
    assert reached["results/evaluations/held/judgements/pairwise.parquet"].rows == 2
    assert PAGE in reached and not any(path.startswith(("results/adapters", "results/exports")) for path in reached)


def test_a_source_file_reaches_all_rows_of_its_set(house: Path) -> None:
    tables = tables_of(house)
    reached = {one.path: one for one in Impact(tables).of_path("data/prompts/plans.jsonl")}
    assert (reached["results/prompts/plans.parquet"].rows, reached[TRAIN].of) == (
        11,
        len(read_parquet_rows(house / TRAIN)),
    )
    assert reached[TRAIN].rows == sum(row["generation"] == "plans" for row in read_parquet_rows(house / TRAIN))
    assert {GGUF, PAGE} <= reached.keys()
    assert reached == {one.path: one for one in Impact(tables).of_jobs(find_set(tables, "plans"))}


def test_a_file_reaches_what_was_made_of_it_only(house: Path) -> None:
    tables = tables_of(house)
    reached = {one.path: one for one in Impact(tables).of_path("results/generations/everyday/answers.parquet")}
    kept = sum(row["generation"] == "everyday" for row in read_parquet_rows(house / TRAIN))
    assert reached[TRAIN].rows == kept
    assert not any("plain" in path or "prompts/" in path for path in reached)
    gold = {one.path: one for one in Impact(tables).of_path("results/evaluations/held/responses/gold.parquet")}
    assert gold["results/evaluations/held/judgements/markers.parquet"].rows == 3
    assert gold["results/evaluations/held/judgements/pairwise.parquet"].rows == 6
    assert {tables.lineage.node_of(path).rule for path in gold} == {
        *("answer_subject", "score_markers", "find_breaks", "run_checks", "judge_rubric", "judge_pairwise"),
        *("summarise_evaluation", "write_report"),
    }


def test_a_prompt_that_two_generations_answered_is_told_by_generation(house: Path) -> None:
    """The same prompts in another generation, of which one dataset is made: the first generation is not in it."""
    other = "results/generations/other"
    with contextlib.chdir(house):
        shutil.copytree("results/generations/plans/shards", f"{other}/shards", ignore=shutil.ignore_patterns("*.json"))
        rows = [
            {**row, "generation": "other"} for row in read_parquet_rows("results/generations/plans/answers.parquet")
        ]
        write_parquet(f"{other}/answers.parquet", rows, ANSWERS)
        source = {"prompts": ["results/prompts/plans.parquet"]}
        record(
            "merge_generation", {"generation": "other"}, [f"{other}/answers.parquet"], source, {"generation": "other"}
        )
        both = {"answers": ["results/generations/plans/answers.parquet", f"{other}/answers.parquet"]}
        write_parquet("results/datasets/both/train.parquet", rows[:4], ANSWERS)
        record("build_dataset", {"dataset": "both"}, ["results/datasets/both/train.parquet"], both, {"name": "both"})
    reached = {one.path: one for one in Impact(tables_of(house)).of_path("results/generations/plans/answers.parquet")}
    assert reached["results/datasets/both/train.parquet"].how == "without it"
    reached = {one.path: one for one in Impact(tables_of(house)).of_path(f"{other}/answers.parquet")}
    assert reached["results/datasets/both/train.parquet"].rows == 4


def test_a_damaged_dataset_may_hold_the_prompt_and_hides_no_adapter(house: Path) -> None:
    (house / TRAIN).unlink()
    (house / TRAIN).write_bytes(b"PAR1 nonsense PAR1")
    tables = tables_of(house)
    reached = {one.path: one for one in Impact(tables).of_prompt(find_prompt(tables, "day-0"))}
    assert reached[TRAIN].how == "made from it" and "cannot be read" in reached[TRAIN].why[0]
    assert {"results/adapters/mixed/adapter_model.safetensors", GGUF, PAGE} <= reached.keys()
    assert tables.is_damaged(TRAIN)


def test_a_prompt_in_another_shard_than_expected_is_found(house: Path) -> None:
    for file in (house / "results/generations/plans/shards").glob("*.record.json"):
        made = read_record(file)
        made["recipe"]["shard"] = made["recipe"]["shards"] + 1
        write_record(file, made)
    prompt_id = find_prompt(tables_of(house), "plan-0")
    reached = of_prompt(house, "plan-0")
    assert {one.path: one.rows for one in reached.values() if one.how == "rows"} == rows_with(house, prompt_id)


def test_what_nobody_read_is_refused(house: Path) -> None:
    with pytest.raises(RecordError, match="no record below results/ names 'data/none'"):
        Impact(tables_of(house)).of_path("data/none")


def steps(house: Path, a: str, b: str) -> list[Step]:
    lineage = Lineage(house)
    return steps_between(lineage, lineage.find(a), lineage.find(b))


def aspects(step: Step) -> set[tuple[str, str]]:
    return {(one.aspect, one.key) for one in step.differences}


def test_two_adapters_differ_by_the_recipes_of_their_datasets(house: Path) -> None:
    found = steps(house, "results/adapters/mixed", "results/adapters/plain")
    assert [step.through for step in found] == [(), ("train",)]
    assert (found[0].differences, found[0].upstream) == ((), ("train",))  # no prompt falls into the valid split
    assert ("recipe", "dataset.sources[1].share") in aspects(found[1])
    assert ("input", "answers results/generations/everyday/answers.parquet") in aspects(found[1])
    rows = dataset_rows_between(tables_of(house), found[0].a, found[0].b)
    everyday = [
        row
        for name in ("train", "valid", "test")
        for row in read_parquet_rows(house / f"results/datasets/mixed/{name}.parquet")
        if row["generation"] == "everyday"
    ]
    assert rows["only_a"]["by_generation"] == {"everyday": len(everyday)}
    assert rows["only_b"]["rows"] == 0 and rows["common"] == rows["b"] == 10


def test_the_same_job_and_the_same_key_differ_in_nothing(house: Path) -> None:
    assert steps(house, GGUF, GGUF) == []
    lineage = Lineage(house)
    node = lineage.find("results/adapters/mixed")
    assert dataset_rows_between(tables_of(house), node, node)["same"] is True
    assert dataset_rows_between(tables_of(house), node, lineage.find("results/prompts/plans.parquet")) is None


def split_rows(house: Path, dataset: str) -> list[tuple[str, str, str]]:
    """(prompt id, generation, split) of every row of a dataset."""
    return [
        (row["prompt_id"], row["generation"], split)
        for split in ("train", "valid", "test")
        for row in read_parquet_rows(house / f"results/datasets/{dataset}/{split}.parquet")
    ]


@pytest.mark.parametrize(("a", "b"), [("mixed", "plain"), ("plain", "mixed"), ("pairs", "plain"), ("mixed", "pairs")])
def test_rows_in_common_are_those_that_plain_counting_finds(house: Path, a: str, b: str) -> None:
    lineage = Lineage(house)
    nodes = [lineage.find(f"results/datasets/{name}") for name in (a, b)]
    told = dataset_rows_between(Tables(lineage), *nodes)
    mine, theirs = split_rows(house, a), split_rows(house, b)
    common = [row for row in mine if row[:2] in {other[:2] for other in theirs}]
    assert (told["a"], told["b"], told["common"]) == (len(mine), len(theirs), len(common))
    assert told["other_split"] == sum(row not in theirs for row in common)
    for name, rows, others in (("only_a", mine, theirs), ("only_b", theirs, mine)):
        alone = [row for row in rows if row[:2] not in {other[:2] for other in others}]
        assert told[name]["rows"] == len(alone) == sum(told[name]["by_generation"].values())
        some = [(row["prompt_id"], row["generation"], row["split"]) for row in told[name]["some"]]
        assert sorted(some) == sorted(alone[:5])


def test_another_text_of_a_common_row_is_counted(house: Path) -> None:
    file = house / "results/datasets/plain/train.parquet"
    rows, schema = read_parquet_rows(file), pq.read_schema(file)
    rows[0]["completion"][0]["content"] = "another answer"
    file.unlink()
    write_parquet(file, rows, schema)
    lineage = Lineage(house)
    nodes = [lineage.find(f"results/datasets/{name}") for name in ("plain", "mixed")]
    assert dataset_rows_between(Tables(lineage), *nodes)["other_text"] == 1


def changed(house: Path, path: str, edit) -> None:
    """Rewrite a record as if the job had been another one, with another key."""
    made = read_record(house / path)
    edit(made)
    write_record(house / path, {**made, "key": "f" * 64})


def copy_job(house: Path, edit) -> None:
    """A second adapter `other`, trained as `plain` was but for `edit`."""
    shutil.copytree(house / "results/adapters/plain", house / "results/adapters/other")

    def move(made: dict) -> None:
        for item in made["artefacts"]:
            item["path"] = item["path"].replace("plain", "other")
        made["wildcards"] = {"adapter": "other"}
        edit(made)

    changed(house, "results/adapters/other/record.json", move)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda made: made["recipe"]["train"]["training"].update(seed=43), ("recipe", "train.training.seed", 42, 43)),
        (lambda made: made["recipe"].update(base=None), ("recipe", "base", "b", None)),
        (lambda made: made["software"].update(torch="3"), ("software", "torch", ABSENT, "3")),
        (lambda made: made["code"]["files"].update({"scripts/train_adapter.py": "new"}), ("code", "scripts/train_adapter.py")),
        (lambda made: made["inputs"].append({**made["inputs"][0], "name": "init"}), ("input", "init results/datasets/plain/train.parquet", ABSENT)),
    ],
)  # fmt: skip
def test_the_first_cause_is_named(house: Path, edit, expected: tuple) -> None:
    copy_job(house, edit)
    found = steps(house, "results/adapters/plain", "results/adapters/other")
    assert len(found) == 1 and len(found[0].differences) == 1
    one = found[0].differences[0]
    assert (one.aspect, one.key, one.a, one.b)[: len(expected)] == expected


def test_an_input_made_anew_between_two_jobs_is_the_cause(house: Path) -> None:
    copy_job(house, lambda made: made["inputs"][0].update(sha256="0" * 64))
    one = steps(house, "results/adapters/plain", "results/adapters/other")[0].differences[0]
    assert (one.aspect, one.key, one.b) == ("outdated", "results/datasets/plain/train.parquet", "0" * 64)


@pytest.mark.parametrize(("parts", "differ"), [(("same", "same"), False), (("one", "another"), True)])
def test_of_a_file_that_counts_in_part_only_that_part_can_differ(house: Path, parts: tuple, differ: bool) -> None:
    def narrow(made: dict) -> None:
        made["inputs"][0].update(sha256="0" * 64)
        made["contents"] = {"train": parts[1]}

    copy_job(house, narrow)
    plain = read_record(house / "results/adapters/plain/record.json")
    write_record(house / "results/adapters/plain/record.json", {**plain, "contents": {"train": parts[0]}})
    found = steps(house, "results/adapters/plain", "results/adapters/other")
    assert bool(found[0].differences) == differ


def test_jobs_of_two_rules_are_not_compared(house: Path) -> None:
    found = steps(house, GGUF, "results/adapters/plain")
    assert [one.aspect for step in found for one in step.differences] == ["rule"]


def test_flat_names_every_leaf() -> None:
    value = {"a": {"b": [1, {"c": None}], "d": []}, "e": {}}
    assert flat(value) == {"a.b[0]": 1, "a.b[1].c": None, "a.d": [], "e": {}}
