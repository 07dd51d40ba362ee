"""Every script runs outside Snakemake on the job of its own rule."""

import pytest
from house import House
from test_unfinished_jobs import RULES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("rule", RULES)
def test_a_script_finds_its_job_by_an_output(built: House, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from stillhouse.provenance.debug import resolve_job

    monkeypatch.chdir(built.study)
    script = "collect_prompts" if rule == "collect_evaluation_prompts" else rule
    record = next(record for record in built.records().values() if record["rule"] == rule)
    job = resolve_job(script, [record["artefacts"][-1]["path"], "--configfile", "study.yaml"])
    assert job.rule == rule
    assert dict(job.wildcards.items()) == record["wildcards"]
    assert [str(path) for path in job.input] == [item["path"] for item in record["inputs"]]
    assert job.config["study"] == "rebuilds"


def test_a_script_works_by_hand(house: House) -> None:
    target = house.study / "results/exports/mixed/Modelfile"
    before = target.read_bytes()
    target.unlink()
    done = house.script("write_modelfile.py", "results/exports/mixed/Modelfile", "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout
    assert target.read_bytes() == before


def test_a_wrong_file_is_told_in_one_line(house: House) -> None:
    done = house.script("write_modelfile.py", "results/prompts/plans.parquet", "--configfile", "study.yaml")
    assert done.returncode == 1 and "no job of write_modelfile.py makes" in done.stdout
    assert "Traceback" not in done.stdout
