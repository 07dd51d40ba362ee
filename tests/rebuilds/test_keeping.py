"""Results moved without Snakemake's memory, artefacts kept after a refactoring, and what `why` and the store tell."""

import json
import shutil
from pathlib import Path

import pytest
from house import House

pytestmark = pytest.mark.slow

STUDY = ("--configfile", "study.yaml")


@pytest.fixture
def bare(house: House) -> House:
    """results/ alone, as on another machine."""
    shutil.rmtree(house.study / ".snakemake")
    return house


def test_planning_over_results_alone_stops_and_names_adopt(bare: House) -> None:
    done = bare.snakemake("-n")
    assert done.returncode != 0
    assert "make adopt" in done.stdout and "Traceback" not in done.stdout


def test_results_of_another_folder_are_not_taken_for_those_remembered(house: House, built: House) -> None:
    """results/ put over those of another recipe, whose memory would say that nothing is to be done."""
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    house.run("adapters")
    shutil.rmtree(house.study / "results")
    shutil.copytree(built.study / "results", house.study / "results")
    done = house.snakemake("-n")
    assert done.returncode != 0 and "remembers other results" in done.stdout and "make adopt" in done.stdout
    assert house.script("adopt.py", *STUDY, "--partly").returncode == 0
    assert "train_adapter" in house.planned()


def test_adopted_results_have_nothing_to_be_done(bare: House) -> None:
    done = bare.script("adopt.py", *STUDY)
    assert done.returncode == 0, done.stdout
    assert f"{len(bare.records())} jobs taken over, 0 not built yet, 0 refused" in done.stdout
    assert bare.planned() == set()
    # and what Snakemake remembers now is good for later changes
    bare.change(lambda study: study["adapters"]["plain"].update(lora={"rank": 8, "alpha": 4}))
    assert bare.planned() == {"preflight_adapter", "train_adapter"}


def test_results_on_a_machine_with_other_times_are_adopted(built: House, tmp_path: Path) -> None:
    shutil.copytree(built.folder, tmp_path / "far", copy_function=shutil.copyfile, symlinks=True)
    far = House(tmp_path / "far", built.server)
    shutil.rmtree(far.study / ".snakemake")
    assert far.script("adopt.py", *STUDY).returncode == 0
    assert far.planned() == set()


def test_adoption_is_refused_where_record_and_study_differ(bare: House) -> None:
    bare.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    done = bare.script("adopt.py", *STUDY)
    assert done.returncode == 1
    assert "refused results/adapters/mixed/adapter_model.safetensors" in done.stdout
    assert "recipe train.lora.rank: 4 -> 2" in done.stdout and "nothing was taken over" in done.stdout
    assert bare.snakemake("-n").returncode != 0  # still not adopted
    partly = bare.script("adopt.py", *STUDY, "--partly")
    assert partly.returncode == 0, partly.stdout
    assert "train_adapter" in bare.planned()
    run = bare.run()
    assert "train_adapter mixed" in run.ran and "train_adapter plain" not in run.ran


def test_adoption_is_refused_where_a_file_was_changed(bare: House) -> None:
    file = bare.study / "results/datasets/mixed/train.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    done = bare.script("adopt.py", *STUDY)
    assert done.returncode == 1
    assert "artefact results/datasets/mixed/train.parquet: changed" in done.stdout
    assert "input train results/datasets/mixed/train.parquet: changed" in done.stdout


def test_adoption_is_refused_where_a_record_was_changed(bare: House) -> None:
    file = bare.study / "results/adapters/mixed/record.json"
    file.write_text(file.read_text().replace('"threads": 1', '"threads": 2', 1))
    done = bare.script("adopt.py", *STUDY)
    assert done.returncode == 1 and "the record was changed after it was written" in done.stdout


def refactor(house: House, name: str = "stillhouse/training/plot.py") -> None:
    file = house.workflow / "scripts" / name
    file.write_text(file.read_text() + "\nif __debug__:\n    _moved = len(__name__)\n")


def test_an_artefact_is_accepted_after_a_refactoring(house: House) -> None:
    before = house.records()
    refactor(house)
    assert "train_adapter" in house.planned()
    done = house.script("accept.py", "all", "--reason", "the plot moved", *STUDY)
    assert done.returncode == 0 and "2 jobs accepted" in done.stdout, done.stdout
    assert house.planned() == set()
    old, new = before["adapters/mixed/record.json"], house.records()["adapters/mixed/record.json"]
    note = new["accepted"][0]
    assert note["code"] == old["code"]["digest"] != new["code"]["digest"]
    assert note["key"] == old["key"] != new["key"]
    assert note["reason"] == "the plot moved" and note["files"] == ["scripts/stillhouse/training/plot.py"]
    assert new["artefacts"] == old["artefacts"]
    # the store knows it under both keys: forced, it is reused
    run = house.run("--forcerun", "train_adapter")
    assert run.ran == set() and "train_adapter mixed" in run.reused


def test_more_than_code_is_not_accepted(house: House) -> None:
    refactor(house)
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    done = house.script("accept.py", "all", *STUDY)
    assert done.returncode == 1
    assert "refused results/adapters/mixed/adapter_model.safetensors" in done.stdout
    assert "recipe train.lora.rank: 4 -> 2" in done.stdout
    assert "train_adapter" in house.planned()


def test_why_names_what_changed(house: House) -> None:
    assert "0 of " in house.script("why.py", *STUDY).stdout
    house.change(lambda study: study["adapters"]["mixed"]["training"].update(learning_rate=0.002))
    house.edit_lines("everyday.jsonl", lambda rows: rows[:-1])
    refactor(house, "stillhouse/reports/view.py")
    told = house.script("why.py", "results/evaluations/held/report.html", *STUDY).stdout
    assert "recipe train.training.learning_rate: 0.001 -> 0.002" in told
    assert "input source everyday.jsonl: changed (" in told
    assert "code scripts/stillhouse/reports/view.py: changed (" in told
    assert "after results/prompts/everyday.parquet" in told
    assert house.planned()  # nothing ran, nothing was forgotten


def test_tools_tell_of_mistakes_in_one_line(house: House) -> None:
    for name, arguments in (("why.py", ["no/such/file"]), ("accept.py", ["no/such/file"])):
        done = house.script(name, *arguments, *STUDY)
        assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout
        assert "no/such/file" in done.stdout


def test_the_store_is_shown_pruned_and_emptied(house: House) -> None:
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    house.run()
    shown = house.script("store.py").stdout
    assert "train_adapter" in shown
    before = len(list((house.study / "results/.store").glob("*/manifest.json")))
    pruned = house.script("store.py", "--prune").stdout
    assert " entries removed" in pruned
    left = {file.parent.name for file in (house.study / "results/.store").glob("*/manifest.json")}
    assert left == {record["key"] for record in house.records().values()} and len(left) < before
    assert house.planned() == set()
    house.script("store.py", "--empty")
    assert list((house.study / "results/.store").glob("*")) == []
    assert house.planned() == set()


def test_records_hold_no_secret_and_no_absolute_path(house: House) -> None:
    for name, record in house.records().items():
        for item in [*record["artefacts"], *record["inputs"]]:
            assert not item["path"].startswith("/"), name
        assert str(house.folder) not in json.dumps(record)
