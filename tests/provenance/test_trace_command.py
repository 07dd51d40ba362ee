"""scripts/trace.py as users run it: on results/ alone, on files from elsewhere, on garbage."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from traced_house import WORKFLOW, copied, write_gguf

from stillhouse.errors import RecordError
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.provenance.gguf_header import is_gguf, read_gguf_header
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.origin import identify
from stillhouse.provenance.records import read_record, write_record

F16, GGUF = "results/exports/mixed/mixed-f16.gguf", "results/exports/mixed/mixed-Q8_0.gguf"
ADAPTERS = ("results/adapters/mixed", "results/adapters/plain")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the small results folder without sources, code and git."""
    copied(tmp_path / "house")
    shutil.rmtree(tmp_path / "house/data")
    return tmp_path / "house"


def trace(house: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess:
    """Run the script in the house, or elsewhere with --directory."""
    command = [sys.executable, str(WORKFLOW / "scripts/trace.py"), *arguments]
    command += ["--directory", str(house)] if folder else []
    environment = {**os.environ, "COLUMNS": "60", "TERM": "dumb"}
    return subprocess.run(command, cwd=folder or house, env=environment, text=True, capture_output=True, check=False)


def answer(house: Path, *arguments: str, folder: Path | None = None) -> str:
    done = trace(house, *arguments, folder=folder)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def refusal(house: Path, *arguments: str) -> str:
    done = trace(house, *arguments)
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    return done.stderr


def test_the_tree_reaches_calls_and_sources(house: Path) -> None:
    text = answer(house, GGUF)
    for rule in ("quantize_gguf", "convert_gguf", "merge_adapter", "train_adapter", "build_dataset", "answer_shard"):
        assert f"by {rule}" in text
    assert "data/prompts/plans.jsonl" in text and "source file" in text
    digests = [line.split("call ")[1] for line in text.splitlines() if "── call " in line]
    assert digests and all(len(digest) == 64 for digest in digests)
    call = json.loads(answer(house, "--call", digests[0][:20]))
    assert call["digest"] == digests[0] and call["answer"]["text"]


def test_calls_shown_can_be_chosen(house: Path) -> None:
    shard = "results/generations/plans/shards/2.parquet"
    named = {digest for row in read_parquet_rows(house / shard) for digest in row["calls"]}
    text = answer(house, shard, "--calls", "1000")
    assert {line.split("call ")[1] for line in text.splitlines() if "── call " in line} == named
    assert "── call " not in answer(house, shard, "--calls", "0")


def test_the_tree_as_json_holds_every_job_once(house: Path) -> None:
    facts = json.loads(answer(house, GGUF, "--json"))
    lineage = Lineage(house)
    assert [job["record"] for job in facts["jobs"]] == [str(n.file) for n in lineage.ancestry(lineage.find(GGUF))]
    assert facts["jobs"][0]["artefacts"][0]["sha256"] == lineage.find(GGUF).sha256_of(GGUF)


def test_a_folder_a_record_and_a_path_from_elsewhere_mean_the_same(house: Path, tmp_path: Path) -> None:
    text = answer(house, "results/adapters/mixed")
    assert answer(house, "results/adapters/mixed/") == answer(house, "results/adapters/mixed/record.json") == text
    assert answer(house, str(house / "results/adapters/mixed"), folder=tmp_path) == text
    assert answer(house, "results/adapters/mixed", folder=tmp_path) == text


def test_a_row_is_told(house: Path) -> None:
    text = answer(house, "--row", "plan-0")
    assert "judge 2, round 1" in text and "answer_shard-plans" in text and "split train" in text
    row = json.loads(answer(house, "--row", "plan-0", "--json"))
    assert max(len(line) for line in text.splitlines()) < 400 and row["answers"][0]["answer"] in json.dumps(row)


def test_the_impact_is_told(house: Path) -> None:
    text = answer(house, "--forward", "plan-0")
    assert f"{GGUF}  made from it" in text and "1 of 13 rows" in text
    assert "prompt set plans" in answer(house, "--forward", "plans")
    assert GGUF in answer(house, "--forward", "data/prompts/plans.jsonl")
    assert GGUF in answer(house, "--forward", "results/adapters/mixed")


def test_differences_are_told(house: Path) -> None:
    text = answer(house, "--diff", *ADAPTERS)
    assert 'dataset.sources[1].generation: "everyday" | (absent)' in text and "only in A: 4 rows" in text
    assert json.loads(answer(house, "--diff", *ADAPTERS, "--json"))["same_key"] is False
    assert "the same build key, and the same bytes" in answer(house, "--diff", GGUF, GGUF)
    assert "A is among what the other was made of" in answer(house, "--diff", F16, GGUF)


def test_one_row_in_one_artefact(house: Path) -> None:
    text = answer(house, "--row", "plan-0", "--in", "results/datasets/pairs/train.parquet")
    assert "pair of round 1" in text and "dataset plain" not in text
    assert "holds no row of" in refusal(house, "--row", "plan-0", "--in", "results/prompts/everyday.parquet")
    assert "holds no rows with prompt ids" in refusal(house, "--row", "plan-0", "--in", GGUF)
    assert "name one file" in refusal(house, "--row", "plan-0", "--in", "results/adapters/mixed")


def test_verify_tells_what_it_did_and_what_is_not_here(house: Path) -> None:
    text = answer(house, "--verify")
    assert "verified" in text and "data/prompts/plans.jsonl: not here" in text
    assert json.loads(answer(house, "--verify", "--json"))["sound"] is True
    file = house / GGUF
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.unlink()
    file.write_bytes(data)
    done = trace(house, "--verify")
    assert done.returncode == 1 and f"FAULT {GGUF} (quantize_gguf export=mixed quant=Q8_0): changed" in done.stdout
    assert trace(house, "--verify", F16).returncode == 0


def test_a_gguf_found_anywhere_says_where_it_is_from(house: Path, tmp_path: Path) -> None:
    found = tmp_path / "renamed.bin"
    shutil.copyfile(house / GGUF, found)
    assert "has the very bytes of results/exports/mixed/mixed-Q8_0.gguf" in answer(house, str(found))
    data = bytearray(found.read_bytes())
    data[-1] ^= 1
    found.write_bytes(data)
    text = answer(house, str(found))
    assert "its bytes are those of no recorded artefact" in text
    assert "Nearest: results/exports/mixed/mixed-Q8_0.gguf (the same number format, other bytes)" in text
    facts = json.loads(answer(house, str(found), "--json"))
    assert (facts["artefact"], facts["same_bytes"]) == (GGUF, False)


def test_a_number_format_that_was_never_recorded_leads_to_the_f16(house: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "q2.gguf", 10, read_record(house / f"{F16}.record.json")["key"])
    text = answer(house, str(tmp_path / "q2.gguf"))
    assert "no artefact of its number format is recorded" in text and "by convert_gguf" in text


def test_the_key_from_before_an_accepted_refactoring_leads_on(house: Path, tmp_path: Path) -> None:
    record = read_record(house / f"{F16}.record.json")
    changed = {**record, "key": "a" * 64, "accepted": [{"key": record["key"], "reason": "renamed a helper"}]}
    write_record(house / f"{F16}.record.json", changed)
    write_gguf(tmp_path / "old.gguf", 1, record["key"])
    assert identify(Lineage(house), str(tmp_path / "old.gguf")).node.rule == "convert_gguf"


def test_a_gguf_of_other_people_is_refused(house: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "other.gguf", 1, None)
    assert "carries no stillhouse.build_key" in refusal(house, str(tmp_path / "other.gguf"))
    write_gguf(tmp_path / "foreign.gguf", 1, "b" * 64)
    assert f"has its build key {'b' * 64}; it was made elsewhere" in refusal(house, str(tmp_path / "foreign.gguf"))


def test_any_artefact_is_known_by_its_bytes(house: Path, tmp_path: Path) -> None:
    shutil.copyfile(house / "results/adapters/mixed/adapter_model.safetensors", tmp_path / "weights")
    assert "by train_adapter adapter=mixed" in answer(house, str(tmp_path / "weights"))


@pytest.mark.parametrize("end", [0, 3, 4, 20, 24, 30, 100, 2000, 6000])
def test_a_cut_off_gguf_is_told(house: Path, tmp_path: Path, end: int) -> None:
    data = (house / GGUF).read_bytes()[:end]
    (tmp_path / "cut.gguf").write_bytes(data)
    with pytest.raises(RecordError, match="no readable GGUF header"):
        read_gguf_header(tmp_path / "cut.gguf")
    assert is_gguf(tmp_path / "cut.gguf") == (end >= 4)


def test_a_header_of_garbage_ends_in_an_error(house: Path, tmp_path: Path) -> None:
    sound, rng = bytearray((house / GGUF).read_bytes()), random.Random(3)
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(5):
            data[rng.randrange(4, 400)] = rng.randrange(256)
        (tmp_path / "odd.gguf").write_bytes(data)
        try:
            assert isinstance(read_gguf_header(tmp_path / "odd.gguf"), dict)
        except RecordError:
            continue


def test_what_cannot_be_answered_is_told_in_one_line(house: Path, tmp_path: Path) -> None:
    assert "names 'results/none' as an artefact" in refusal(house, "results/none")
    assert "is a source file" in refusal(house, "data/prompts/plans.jsonl")
    assert "jobs made files below results/exports/mixed" in refusal(house, "results/exports/mixed")
    assert "no prompt below results/" in refusal(house, "--row", "nobody")
    assert "no prompt below results/" in refusal(house, "--forward", "nobody")
    assert "no call in" in refusal(house, "--call", "00000000000000")
    assert "several calls in" in refusal(house, "--call", answer(house, GGUF).split("── call ")[1][0])
    assert "there is no ledger" in refusal(house, "--call", "0", "--ledger", "nowhere")
    assert "there are no records" in refusal(house, "--verify", "--directory", str(tmp_path))
    assert "there are no records" in refusal(house, "results/x", "--directory", str(tmp_path))


def test_an_empty_name_is_no_name(house: Path) -> None:
    assert "may mean" in refusal(house, "--row", "")
    assert "no call in" in refusal(house, "--call", "")


def test_a_terminal_that_spells_little_is_no_error(house: Path) -> None:
    command = [sys.executable, str(WORKFLOW / "scripts/trace.py"), GGUF]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "arguments", [(), ("--in", "x"), ("--row", "a", "--diff", "a", "b"), ("results/x", "--row", "a"), ("--diff", "a")]
)
def test_wrong_options_show_the_usage(house: Path, arguments: tuple[str, ...]) -> None:
    done = trace(house, *arguments)
    assert done.returncode == 2 and "usage:" in done.stderr


def test_a_damaged_record_is_told_beside_the_answer(house: Path) -> None:
    file = house / "results/adapters/plain/record.json"
    file.write_text(file.read_text().replace('"rule"', '"role"', 1))
    done = trace(house, GGUF)
    assert done.returncode == 1 and "by quantize_gguf" in done.stdout
    assert "results/adapters/plain/record.json (train_adapter adapter=plain)" in done.stderr
    assert "the record of results/adapters/plain" in trace(house, "results/adapters/plain").stderr


def test_a_damaged_table_is_told_beside_the_answer(house: Path) -> None:
    file = house / "results/datasets/mixed/train.parquet"
    file.unlink()
    file.write_bytes(b"PAR1garbagePAR1")
    for arguments in (("--row", "plan-0"), ("--forward", "plan-0"), ("--diff", *ADAPTERS)):
        done = trace(house, *arguments)
        assert done.returncode == 1 and done.stdout
        assert "results/datasets/mixed/train.parquet (build_dataset dataset=mixed): cannot be read" in done.stderr


def test_a_closed_pipe_is_no_error(house: Path) -> None:
    command = f"{sys.executable} {WORKFLOW / 'scripts/trace.py'} {GGUF} --calls 500 | head -1"
    done = subprocess.run(command, shell=True, cwd=house, capture_output=True, text=True, check=False)
    assert done.stderr == ""
