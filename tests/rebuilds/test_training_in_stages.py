"""An adapter on the merged model of an earlier export: built on the real workflow, then changed below and above."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import HERE, THINGS, House, write_prompts

from stillhouse.study.plan import load_plan
from stillhouse.study.records import study_records

pytestmark = pytest.mark.slow

JOB = re.compile(r"^Job \d+: (.*)$", re.MULTILINE)
SECOND = {
    "Look through what adapter second will be trained on",
    "Train adapter second",
    "Merge the adapter of export second into its full-precision base",
    "Convert merged export second to GGUF",
    "Quantise export second to Q8_0",
    "Convert the adapter of export second to GGUF",
    "Write the Modelfile of export second, and let it answer",
    "Measure what rounding did to export second",
    "Write the model card of export second",
    *(f"Let {name} answer the prompts of evaluation held" for name in ("after", "merged", "adapted")),
    "Count markers in the answers of evaluation held",
    "Summarise evaluation held",
    "Write the report of evaluation held",
    "Hold evaluation held to its limit of unscored verdicts",
    "Write the history of all evaluations",
}
FIRST = {
    "Look through what adapter first will be trained on",
    "Train adapter first",
    "Merge the adapter of export first into its full-precision base",
    "Convert merged export first to GGUF",
    "Write the Modelfile of export first, and let it answer",
    "Write the model card of export first",
}


def write_answers(file: Path, question: str) -> None:
    """Six prompts with answers."""
    rows = [
        {"id": f"{file.stem}-{n}", "prompt": question.format(thing), "response": f"The {thing} crew says {file.stem}."}
        for n, thing in enumerate(THINGS[:6])
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, unbuilt: House) -> House:
    """The study of stages.yaml, built on the base of the other rebuild tests."""
    house = unbuilt.copy(tmp_path_factory.mktemp("staged"))
    shutil.copy(HERE / "stages.yaml", house.study / "study.yaml")
    write_answers(house.study / "plans.jsonl", "Who runs the {}?")
    write_answers(house.study / "ferries.jsonl", "When does the {} close?")
    write_prompts(house.study / "held.jsonl", "held", "When does the {} open?", 3)
    (house.study / "markers.yaml").write_text("markers: [crew]\n")
    house.run()
    return house


def read(house: House, name: str) -> Any:
    return json.loads((house.study / "results" / name).read_text())


def answers(house: House, subject: str) -> list[str]:
    import pyarrow.parquet as pq

    file = house.study / f"results/evaluations/held/responses/{subject}.parquet"
    return pq.read_table(file)["answer"].to_pylist()


def read_by(house: House, record: str) -> set[str]:
    """The results that a job read, below results/."""
    paths = (entry["path"] for entry in read(house, record)["inputs"])
    return {path.removeprefix("results/") for path in paths}


def planned_jobs(house: House) -> set[str]:
    """What `snakemake -n` would do, in the words of the rules."""
    done = house.snakemake("-n")
    assert done.returncode == 0, done.stdout[-4000:]
    return set(JOB.findall(done.stdout))


def test_the_second_adapter_learns_on_the_merged_first_one(staged: House) -> None:
    merged = read(staged, "exports/first/merged/digests.json")["files"]
    base = read(staged, "adapters/second/digests.json")["base"]
    assert base == {name: merged[name]["sha256"] for name in base} and "model.safetensors" in base
    record = read(staged, "adapters/second/record.json")
    assert record["recipe"]["base"] == "export first"
    weights = merged["model.safetensors"]["sha256"]
    assert record["models"] == [{"name": "export first", "backend": "transformers", "weights": weights}]
    readme = (staged.study / "results/adapters/second/README.md").read_text()
    assert yaml.safe_load(readme.split("---\n")[1])["base_model"] == "first"
    assert (
        f"the merged model of export first, `results/exports/first/merged` in its study, with the weights {weights}"
        in readme
    )
    assert "merged model" not in (staged.study / "results/adapters/first/README.md").read_text()
    assert read(staged, "adapters/first/record.json")["recipe"]["base"] == "base"
    assert read(staged, "exports/second/merged/record.json")["facts"]["shift"] > 0


def test_all_ways_to_serve_it_answer_alike(staged: House) -> None:
    said = answers(staged, "after")
    assert len(said) == 3 and any(said)
    assert answers(staged, "merged") == said
    assert len(answers(staged, "adapted")) == 3
    record = "evaluations/held/responses/adapted.parquet.record.json"
    assert {"exports/first/first-f16.gguf", "exports/second/second-adapter.gguf"} <= read_by(staged, record)
    assert not (staged.study / "results/models/base/model.gguf").exists()  # nobody asks the model at the bottom
    measured = {one["quant"]: one for one in read(staged, "exports/second/fidelity.json")["files"]}
    assert measured["f16"]["kept"] == pytest.approx(1, abs=0.01)


def test_card_metadata_and_report_tell_all_stages(staged: House) -> None:
    import gguf

    card = (staged.study / "results/exports/second/README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == "base" and front["datasets"] == ["plans", "ferries"]
    assert "the merged model of export `first`" in card and "answers.plans" in card and "2 trainings" in card
    assert "-m first-f16.gguf --lora second-adapter.gguf" in card
    for file in ("second-f16", "second-adapter"):
        fields = gguf.GGUFReader(staged.study / f"results/exports/second/{file}.gguf").fields
        assert fields["stillhouse.base"].contents() == "export first"
    trained = read(staged, "evaluations/held/report.json")["contamination"]["trained"]
    assert trained["after"]["dataset"] == "plans, ferries"


def test_lineage_goes_down_to_the_first_stage(staged: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(staged.study)
    study = yaml.safe_load((staged.study / "study.yaml").read_text())
    assert sorted(study_records(load_plan(study, staged.study, staged.workflow))) == sorted(
        f"results/{name}" for name in staged.records()
    )
    told = staged.script("trace.py", "results/exports/second/second-Q8_0.gguf").stdout
    for name in ("adapters/second", "exports/first/merged", "adapters/first", "datasets/plans", "models/base"):
        assert f"results/{name}/" in told
    assert "plans.jsonl" in told


def test_what_stands_on_a_changed_adapter_runs_again_and_nothing_below(staged: House, tmp_path: Path) -> None:
    house = staged.copy(tmp_path / "house")
    assert planned_jobs(house) == set()
    house.change(lambda study: study["adapters"]["second"]["lora"].update(rank=2))
    assert planned_jobs(house) == SECOND
    house.change(lambda study: study["adapters"]["second"]["lora"].update(rank=4))
    house.change(lambda study: study["adapters"]["first"]["training"].update(seed=7))
    assert planned_jobs(house) == FIRST | SECOND
    house.change(lambda study: study["adapters"]["first"]["training"].update(seed=42))
    house.change(lambda study: study["exports"]["first"].update(quants=["Q8_0"]))
    quantised = {"Quantise export first to Q8_0"}
    assert planned_jobs(house) == quantised | {one for one in FIRST if one.startswith("Write")}  # the Modelfile runs it
