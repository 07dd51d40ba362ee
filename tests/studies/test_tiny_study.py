"""The promises of the whole pipeline, on a shrunken study with the real model at every step."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from study_runs import Built

from stillhouse.llm.ledger import Ledger
from stillhouse.provenance.ledger_check import check_ledger
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.records import read_record

pytestmark = pytest.mark.slow

GGUF = "results/exports/mixed/mixed-Q4_K_M.gguf"


def rows(file: Path) -> list[dict]:
    return pq.read_table(file).to_pylist()


def test_every_call_in_a_calls_column_is_in_the_ledger_with_its_answer(built: Built) -> None:
    ledger = Ledger(built.folder / "results/ledger")
    found = check_ledger(built.folder / "results/ledger")
    assert not found.faults and found.lines >= len(ledger) > 0
    named = 0
    for file in (built.folder / "results").rglob("*.parquet"):
        if "calls" in pq.read_schema(file).names and ".store" not in file.parts:
            for row in rows(file):
                for digest in row["calls"] or ():
                    named += 1
                    assert ledger.entry(digest)["answer"]["finish_reason"]
    assert named > 20


def test_answers_are_those_of_the_ledger(built: Built) -> None:
    ledger = Ledger(built.folder / "results/ledger")
    for row in rows(built.folder / "results/generations/contested/answers.parquet"):
        assert ledger.get(row["answer_call"]).text == row["answer"]
        assert row["answer_call"] in row["calls"]


@pytest.mark.parametrize(("generation", "prompts"), [("contested", 2), ("plans", 8), ("everyday", 6)])
def test_rows_plus_failures_equal_prompts(built: Built, generation: str, prompts: int) -> None:
    folder = built.folder / "results/generations" / generation
    answered, failed = rows(folder / "answers.parquet"), rows(folder / "failures.parquet")
    ids = [row["prompt_id"] for row in answered + failed]
    assert len(ids) == len(set(ids)) == prompts


def test_the_transcript_tells_every_vote(built: Built) -> None:
    for row in rows(built.folder / "results/generations/contested/answers.parquet"):
        for round_ in json.loads(row["transcript"])["rounds"]:
            assert round_["winner"] in ("A", "B", "AB")
            for vote in round_["votes"]:
                assert sorted(vote["labels"]) == ["X1", "X2", "X3"]
                assert sorted(vote["labels"].values()) == ["A", "AB", "B"]
                assert vote["call"] in row["calls"]


def test_nothing_is_to_be_done_afterwards(built: Built) -> None:
    done = built.snakemake("-n")
    assert "Nothing to be done" in done.stdout, done.stdout[-3000:]


def test_no_pickle_anywhere(built: Built) -> None:
    endings = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
    found = [file for file in (built.folder / "results").rglob("*") if file.suffix in endings]
    assert found == []


def test_every_artefact_has_a_record_that_names_it(built: Built) -> None:
    results = built.folder / "results"
    named = {path for node in Lineage(built.folder).nodes for path in node.artefacts}
    for file in results.rglob("*"):
        relative = file.relative_to(built.folder).as_posix()
        is_artefact = file.is_file() and not file.name.endswith("record.json")
        if is_artefact and file.relative_to(results).parts[0] not in (".store", ".token.json", "ledger"):
            assert relative in named, f"{relative} has no record"


def test_records_hold_no_absolute_path(built: Built) -> None:
    for file in (built.folder / "results").rglob("*record.json"):
        record = read_record(file)
        paths = [item["path"] for item in record["artefacts"]]
        paths += [item["path"] for item in record["inputs"] if item["path"].startswith("results/")]
        assert paths and not any(path.startswith("/") for path in paths)
        assert str(built.folder) not in file.read_text(encoding="utf-8")


def test_the_gguf_carries_the_build_key_of_its_ancestor(built: Built) -> None:
    from llama_cpp import Llama

    llama = Llama(str(built.folder / GGUF), vocab_only=True, verbose=False)
    source = read_record(built.folder / "results/exports/mixed/mixed-f16.gguf.record.json")
    assert llama.metadata["stillhouse.build_key"] == source["key"]


def test_the_adapter_loads_by_its_folder_alone(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import AutoPeftModelForCausalLM

    monkeypatch.chdir(built.folder)
    model = AutoPeftModelForCausalLM.from_pretrained("results/adapters/mixed")
    assert model.peft_config["default"].r == 16


def test_the_dataset_loads_by_the_datasets_library(built: Built, tmp_path: Path) -> None:
    import datasets

    file = str(built.folder / "results/datasets/mixed/train.parquet")
    loaded = datasets.load_dataset("parquet", data_files={"train": file}, cache_dir=str(tmp_path))["train"]
    assert {"prompt", "completion"} <= set(loaded.column_names)
    assert loaded[0]["completion"][0]["role"] == "assistant"


def test_trace_reaches_calls_and_verifies(built: Built) -> None:
    told = built.trace(GGUF)
    assert told.returncode == 0
    for rule in ("quantize_gguf", "convert_gguf", "merge_adapter", "train_adapter", "build_dataset", "answer_shard"):
        assert f"by {rule}" in told.stdout
    digest = next(
        word for line in told.stdout.splitlines() if "call " in line for word in line.split() if len(word) == 64
    )
    call = json.loads(built.trace("--call", digest).stdout)
    assert call["digest"] == digest and "text" in call["answer"]
    verified = built.trace("--verify", GGUF)
    assert verified.returncode == 0, verified.stdout
    assert "verified" in verified.stdout


ANCESTORS = [
    GGUF,
    "results/models/smollm2/model.safetensors",
    "results/adapters/mixed/adapter_model.safetensors",
    "results/adapters/mixed/record.json",
    "results/datasets/mixed/train.parquet",
    "results/generations/contested/shards/0.parquet",
    "results/generations/plans/answers.parquet",
    "results/prompts/contested.parquet",
]


@pytest.mark.parametrize("ancestor", ANCESTORS)
def test_one_changed_byte_of_an_ancestor_is_found_and_named(built: Built, ancestor: str) -> None:
    file = built.folder / ancestor
    assert_flip_is_named(built, file, ancestor)


def test_one_changed_byte_of_the_ledger_is_found_and_named(built: Built) -> None:
    for file in sorted((built.folder / "results/ledger").glob("answer_shard-plans*.jsonl")):
        assert_flip_is_named(built, file, file.name)


def assert_flip_is_named(built: Built, file: Path, name: str) -> None:
    sound = file.read_bytes()
    middle = len(sound) // 2
    try:
        # written anew, not in place: the store holds a hard link to the same bytes
        file.unlink()
        file.write_bytes(sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :])
        done = built.trace("--verify", GGUF)
        assert done.returncode == 1
        assert name in done.stdout
    finally:
        file.unlink()
        file.write_bytes(sound)


def test_a_targeted_build_runs_nothing_else(built: Built) -> None:
    done = built.snakemake("-n", "--forceall", GGUF)
    for rule in ("answer_subject", "write_report", "convert_adapter_gguf", "judge_rubric", "write_model_card"):
        assert rule not in done.stdout
    assert "quantize_gguf" in done.stdout


def test_going_back_reuses_what_was_made(built: Built, tmp_path: Path) -> None:
    copy = Built(tmp_path / "again")
    shutil.copytree(built.folder, copy.folder, symlinks=True)
    file = copy.folder / "results/adapters/mixed/adapter_model.safetensors"
    before = file.read_bytes()
    file.unlink()
    done = copy.snakemake("results/adapters/mixed/adapter_model.safetensors")
    assert done.returncode == 0, done.stdout[-3000:]
    assert file.read_bytes() == before
    assert read_record(copy.folder / "results/adapters/mixed/record.json")["reused"] is True


def test_results_moved_together_with_their_metadata_need_nothing(built: Built, tmp_path: Path) -> None:
    copy = Built(tmp_path / "moved")
    shutil.copytree(built.folder, copy.folder, symlinks=True)
    done = copy.snakemake("-n")
    assert "Nothing to be done" in done.stdout, done.stdout[-3000:]


def test_a_recorded_subject_is_scored_without_its_thoughts(built: Built) -> None:
    answers = {row["id"]: row for row in rows(built.folder / "results/evaluations/framework/responses/earlier.parquet")}
    assert answers["tiny-4"]["answer"] == "Eight minutes in boiling water."
    marks = rows(built.folder / "results/evaluations/framework/judgements/markers.parquet")
    assert {row["raw"] for row in marks if row["subject"] == "earlier" and row["id"] == "tiny-1"} == {2}


def test_the_estimate_makes_no_call(built: Built) -> None:
    before = {file: file.stat().st_size for file in (built.folder / "results/ledger").iterdir()}
    done = built.snakemake("estimate")
    assert done.returncode == 0 and "generation contested" in done.stdout, done.stdout[-3000:]
    assert {file: file.stat().st_size for file in (built.folder / "results/ledger").iterdir()} == before
