"""Models that the study trains answer generations: built on the real workflow, asked again, changed, and traced."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from house import HERE, THINGS, House

from stillhouse.study.plan import load_plan
from stillhouse.study.records import study_records

pytestmark = pytest.mark.slow

JOB = re.compile(r"^Job \d+: (.*)$", re.MULTILINE)
GENERATIONS = ("attempts", "drawn", "echoes")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, unbuilt: House) -> House:
    """The study of trained.yaml, built on the base of the other rebuild tests."""
    house = unbuilt.copy(tmp_path_factory.mktemp("taught"))
    shutil.copy(HERE / "trained.yaml", house.study / "study.yaml")
    rows = [
        {"id": f"plan-{n}", "prompt": f"Who runs the {thing}?", "response": f"The {thing} crew runs the {thing}."}
        for n, thing in enumerate(THINGS[:6])
    ]
    (house.study / "plans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (house.study / "markers.yaml").write_text("markers: [crew]\n")
    house.run()
    return house


def read(house: House, name: str) -> Any:
    return json.loads((house.study / "results" / name).read_text())


def rows(house: House, name: str) -> list[dict[str, Any]]:
    return pq.read_table(house.study / "results" / name).to_pylist()


def call(house: House, digest: str) -> dict[str, Any]:
    """A call as `trace.py --call` tells it."""
    told = house.script("trace.py", "--call", digest, "--json")
    return json.loads(told.stdout)


def planned_jobs(house: House) -> set[str]:
    """What `snakemake -n` would do, in the words of the rules."""
    done = house.snakemake("-n")
    assert done.returncode == 0, done.stdout[-4000:]
    return set(JOB.findall(done.stdout))


def test_nothing_is_left_to_do_and_the_records_are_known(taught: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned_jobs(taught) == set()
    monkeypatch.chdir(taught.study)
    study = yaml.safe_load((taught.study / "study.yaml").read_text())
    assert sorted(study_records(load_plan(study, taught.study, taught.workflow))) == sorted(
        f"results/{name}" for name in taught.records()
    )


def test_the_record_says_what_answered_and_how(taught: House) -> None:
    record = read(taught, "generations/attempts/shards/0.parquet.record.json")
    subject = read(taught, "evaluations/held/responses/adapted.parquet.record.json")
    [asked], [answered] = record["models"], subject["models"]
    assert asked == {**answered, "name": "student"}  # one identity, whoever asks
    assert record["facts"]["serving"]["student"] == subject["facts"]["serving"]
    assert {"adapters/first/digests.json", "adapters/first/adapter_model.safetensors"} <= {
        item["path"].removeprefix("results/") for item in record["inputs"]
    }
    assert "scripts/stillhouse/llm/transformers_backend.py" in record["code"]["files"]
    assert {"torch", "peft"} <= set(record["software"])
    packed = read(taught, "generations/echoes/shards/0.parquet.record.json")
    quantised = read(taught, "evaluations/held/responses/quantised.parquet.record.json")
    assert packed["models"][0] == {**quantised["models"][0], "name": "packed"}
    assert packed["facts"]["serving"]["packed"] == quantised["facts"]["serving"]


def test_it_costs_nothing(taught: House) -> None:
    for name, model in (("attempts", "student"), ("drawn", "student"), ("echoes", "packed")):
        cost = read(taught, f"generations/{name}/cost.json")
        assert (cost["usd"], cost["unpriced_models"], cost["missing"]) == (0.0, [], 0)
        assert {line["model"] for line in cost["lines"]} == {model}


def test_the_students_answers_are_the_rejected_side_of_pairs(taught: House) -> None:
    said = {row["prompt_id"]: row["answer"] for row in rows(taught, "generations/attempts/answers.parquet")}
    pairs = [row for split in ("train", "valid") for row in rows(taught, f"datasets/pairs/{split}.parquet")]
    assert pairs
    for pair in pairs:
        assert pair["rejected"][-1]["content"] == said[pair["prompt_id"]]
        assert pair["chosen"][-1]["content"].startswith("The ")


def test_a_model_answers_as_the_subject_does(taught: House) -> None:
    """In any dtype: both decode the same batches. A text that is cut off is asked for again, so first calls count."""
    for generation, subject in (("attempts", "adapted"), ("echoes", "quantised")):
        held = {
            row["prompt_id"]: row["answer"] for row in rows(taught, f"evaluations/held/responses/{subject}.parquet")
        }
        drafts = rows(taught, f"generations/{generation}/answers.parquet")
        assert len(held) == len(drafts) == 6 and all(held.values())
        for row in drafts:
            assert call(taught, row["calls"][0])["answer"]["text"] == held[row["prompt_id"]]


def test_neither_shards_nor_a_lost_ledger_change_an_answer(taught: House, tmp_path: Path) -> None:
    house = taught.copy(tmp_path / "house")
    kept = {name: (house.study / f"results/generations/{name}/answers.parquet").read_bytes() for name in GENERATIONS}
    for folder in ("ledger", "generations", ".store"):
        shutil.rmtree(house.study / "results" / folder)
    house.change(lambda study: study["generations"]["attempts"].update(shards=1))
    house.change(lambda study: study["generations"]["drawn"].update(shards=3))
    house.run("generations")
    for name, before in kept.items():
        assert (house.study / f"results/generations/{name}/answers.parquet").read_bytes() == before
    house.change(lambda study: study["generations"]["drawn"].update(shards=2))
    again = house.run("generations")
    assert {job.split()[0] for job in again.ran} <= {"answer_shard", "merge_generation"}
    usage = [read(house, f"generations/drawn/shards/{shard}.parquet.record.json")["usage"] for shard in (0, 1)]
    assert [one["calls_made"] for one in usage] == [0, 0]


def test_what_the_ledger_knows_is_not_asked_again_by_another_subject(taught: House, tmp_path: Path) -> None:
    house = taught.copy(tmp_path / "house")
    held = yaml.safe_load((HERE / "trained.yaml").read_text())["evaluations"]["held"]
    subjects = {"student": {"model": "student"}, "packed": {"model": "packed"}, "twin": {"adapter": "first"}}
    house.change(lambda study: study["evaluations"].update(again={**held, "subjects": subjects}))
    house.run("evaluations")
    for name, same in (("student", "adapted"), ("packed", "quantised"), ("twin", "adapted")):
        record = read(house, f"evaluations/again/responses/{name}.parquet.record.json")
        assert (record["usage"]["calls_made"], record["usage"]["calls_replayed"]) == (0, 6)
        other = rows(house, f"evaluations/held/responses/{same}.parquet")
        found = rows(house, f"evaluations/again/responses/{name}.parquet")
        assert [row["calls"] for row in found] == [row["calls"] for row in other]


def test_a_changed_adapter_asks_again_and_another_one_does_not(taught: House, tmp_path: Path) -> None:
    house = taught.copy(tmp_path / "house")
    house.change(lambda study: study["adapters"]["second"]["training"].update(seed=7))
    assert planned_jobs(house) == {"Look through what adapter second will be trained on", "Train adapter second"}
    house.change(lambda study: study["adapters"]["second"]["training"].update(seed=42))
    house.change(lambda study: study["adapters"]["first"]["training"].update(seed=7))
    jobs = planned_jobs(house)
    assert {f"Merge the shards of generation {name}" for name in GENERATIONS} <= jobs
    assert {"Build dataset pairs", "Train adapter first", "Train adapter second"} <= jobs
    assert not [job for job in jobs if "dataset given" in job or job.startswith("Read ")]
    house.change(lambda study: study["adapters"]["first"]["training"].update(seed=42))
    house.change(lambda study: study["models"]["packed"].update(serve="merged"))
    told = {"Answer shard 0 of generation echoes", "Merge the shards of generation echoes"}
    told |= {"Write the report of generation echoes", "Add up what generation echoes cost"}
    assert planned_jobs(house) == told


def test_trace_why_estimate_and_the_lineage_page_know_it(taught: House, tmp_path: Path) -> None:
    house = taught.copy(tmp_path / "house")
    told = house.script("trace.py", "results/generations/attempts/answers.parquet").stdout
    for name in ("adapters/first", "datasets/given", "models/base"):
        assert f"results/{name}/" in told
    told = house.script("trace.py", "--forward", "plans.jsonl").stdout
    assert "generations/attempts" in told and "adapters/second" in told
    row = house.script("trace.py", "--row", "plan-0").stdout
    assert "model student is adapter first, served by peft  results/adapters/first/adapter_model.safetensors" in row
    assert "model packed is export first, served by gguf:Q8_0" in row
    assert "dataset pairs, from generation attempts: the rejected side of 1 pair" in row
    assert "FAULT" not in house.script("trace.py", "--verify").stdout
    assert "generation attempts" in house.snakemake("estimate", cores=1).stdout
    house.run("results/provenance/lineage.html")
    assert "adapters/first" in (house.study / "results/provenance/lineage.html").read_text()
    house.change(lambda study: study["models"]["packed"].update(serve="gguf:f16"))
    why = house.script("why.py", "results/generations/echoes/answers.parquet", "--configfile", "study.yaml").stdout
    assert "gguf:f16" in why
