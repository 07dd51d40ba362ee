"""Published pairs become a dataset with a given share of off-domain rows and without the held-out prompts: no call."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from study_runs import WORKFLOW, Built, run

from stillhouse.provenance.conservation import check_conservation

TINY = WORKFLOW / "tests/studies/replay/mix"
REAL = WORKFLOW.parent / "shared/data"

pytestmark = pytest.mark.slow


def mixed(folder: Path, data: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """report.json and the rows of all splits of the shipped study over the files in `data`; nothing was asked."""
    done = Built(folder).snakemake(
        "datasets", "--config", f"data={data}", configfile="config/studies/mix-hammerstein.yaml"
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert not list(folder.glob("results/ledger/**/*.jsonl"))
    dataset = folder / "results/datasets/mixed"
    rows = [
        row for split in ("train", "valid", "test") for row in pq.read_table(dataset / f"{split}.parquet").to_pylist()
    ]
    return json.loads((dataset / "report.json").read_text()), rows


def count(rows: list[dict[str, Any]], generation: str) -> int:
    return sum(row["generation"] == generation for row in rows)


def test_shares_and_decontamination_of_a_tiny_set(tmp_path: Path) -> None:
    report, rows = mixed(tmp_path, TINY)
    assert (count(rows, "strategic"), count(rows, "off-domain")) == (14, 2)
    (hit,) = report["decontamination"]
    assert (hit["row"]["id"], hit["held_out"]["id"]) == ("o-2", "f-1")
    dropped = pq.read_table(tmp_path / "results/datasets/mixed/dropped.parquet").to_pylist()
    assert len(dropped) + len(rows) == 20
    assert {row["id"] for row in dropped if row["stage"] == "decontamination"} == {"o-2"}
    for form in ("sharegpt", "mlx"):
        lines = [
            (tmp_path / f"results/datasets/mixed/{form}/{split}.jsonl").read_text() for split in ("train", "valid")
        ]
        assert sum(len(text.splitlines()) for text in lines) == 16


def test_a_pair_that_is_taken_down_leaves_nothing(tmp_path: Path) -> None:
    """Its rows, its text and its answer are told while they are there, and are gone with the next run."""
    study = yaml.safe_load((WORKFLOW / "config/studies/mix-hammerstein.yaml").read_text())
    study = {**study, "data": str(TINY), "exclude": {"prompts": ["strategic:s-03"]}}
    del study["datasets"]["mixed"]["outputs"]
    given = next(
        row
        for line in (TINY / "hammerstein-pairs/strategic_308.jsonl").read_text().splitlines()
        if (row := json.loads(line))["id"] == "s-03"
    )
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**study, "exclude": {}}))
    built, script = Built(tmp_path), str(WORKFLOW / "scripts/takedown.py")
    assert built.snakemake("datasets", configfile=str(tmp_path / "study.yaml")).returncode == 0
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    command = [sys.executable, script, "--configfile", "study.yaml"]
    before = run(command, tmp_path)
    assert before.returncode == 1, before.stdout
    assert "LEFT results/answers/strategic/answers.parquet: prompt" in before.stdout
    assert "LEFT results/datasets/mixed/" in before.stdout
    assert "an answer to it, its text, a row about it" in before.stdout
    assert built.snakemake("datasets", configfile=str(tmp_path / "study.yaml")).returncode == 0
    assert check_conservation(tmp_path) == []
    after = run([*command, "--purge"], tmp_path)
    assert after.returncode == 0, after.stdout
    for file in (tmp_path / "results").rglob("*.parquet"):
        cells = {str(value) for row in pq.read_table(file).to_pylist() for value in row.values()}
        assert not [cell for cell in cells if given["response"] in cell or given["prompt"] in cell], file


@pytest.mark.skipif(not REAL.is_dir(), reason="the published data is not on this machine")
def test_the_published_mix(tmp_path: Path) -> None:
    """All 308 strategic rows and 12.5 % off-domain: 44. Four of the 30 forgetting prompts at least have a near-duplicate."""
    report, rows = mixed(tmp_path, REAL)
    assert (count(rows, "strategic"), count(rows, "off-domain")) == (308, 44)
    assert check_conservation(tmp_path) == []
    answers = pq.read_table(tmp_path / "results/answers/strategic/answers.parquet")
    assert sorted(answers["sample"].to_pylist()) == [0] * 306 + [1] * 2
    hits = report["decontamination"]
    assert {hit["row"]["generation"] for hit in hits} == {"off-domain"}
    assert len({hit["held_out"]["id"] for hit in hits}) >= 4
    assert [source["realised_share"] for source in report["sources"]] == pytest.approx([0.875, 0.125])
