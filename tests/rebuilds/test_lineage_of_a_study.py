"""Records, verification and lineage on a study that the whole workflow built."""

import json
import random
import shutil
from pathlib import Path

import jsonschema
import pytest
from house import WORKFLOW, House

from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.verify import verify

pytestmark = pytest.mark.slow

GGUF = "results/exports/mixed/mixed-Q8_0.gguf"


def test_every_record_follows_the_published_schema(built: House) -> None:
    schema = json.loads((WORKFLOW / "docs/record.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for name, record in built.records().items():
        assert [error.message for error in validator.iter_errors(record)] == [], name


def test_records_tell_models_seeds_and_usage(built: House) -> None:
    records = built.records()
    shard = records["generations/plans/shards/0.parquet.record.json"]
    assert shard["models"] == [
        {"name": "teacher", "backend": "openai", "model": "counted", "served": ["served-teacher"]}
    ]
    assert shard["seeds"] == {"sampling.seed": 7}
    assert shard["usage"]["calls_made"] > 0 and shard["usage"]["usd"] is None  # no price is known, which is not 0
    adapter = records["adapters/mixed/record.json"]
    base = next(item for item in adapter["inputs"] if item["name"] == "base")
    assert adapter["models"] == [{"name": "base", "backend": "transformers", "weights": base["sha256"]}]
    assert adapter["usage"] is None and adapter["seeds"] == {"train.training.seed": 42}


def test_a_built_study_verifies(built: House) -> None:
    done = built.script("trace.py", "--verify")
    assert done.returncode == 0, done.stdout
    assert "FAULT" not in done.stdout


def test_one_flipped_byte_in_any_of_30_random_artefacts_is_found_and_named(house: House) -> None:
    luck = random.Random(30)
    lineage = Lineage(house.study)
    makers = {path: node.job for node in lineage.nodes for path in node.artefacts}
    ledger = house.study / "results/ledger"
    for path in luck.sample(sorted(makers), 30):
        file = house.study / path
        before = file.read_bytes()
        if not before:
            continue
        place = luck.randrange(len(before))
        file.write_bytes(before[:place] + bytes([before[place] ^ 1 << luck.randrange(8)]) + before[place + 1 :])
        found = verify(Lineage(house.study), None, ledger).faults
        assert any(fault.path == path and fault.job == makers[path] for fault in found), (path, place, found)
        file.write_bytes(before)
    assert verify(Lineage(house.study), None, ledger).faults == []


def test_results_alone_can_be_traced_and_verified(built: House, tmp_path: Path) -> None:
    shutil.copytree(built.study / "results", tmp_path / "results")
    alone = House(tmp_path, built.server)
    (tmp_path / "study").symlink_to(tmp_path)
    alone.workflow.symlink_to(built.workflow)
    assert alone.script("trace.py", "--verify").returncode == 0
    assert "answer_shard" in alone.script("trace.py", GGUF).stdout


def test_a_gguf_found_anywhere_is_known(house: House, tmp_path: Path) -> None:
    found = tmp_path / "downloaded.gguf"
    shutil.copyfile(house.study / GGUF, found)
    done = house.script("trace.py", str(found))
    assert done.returncode == 0 and GGUF in done.stdout, done.stdout


def test_a_gguf_is_known_after_its_code_was_accepted(house: House, tmp_path: Path) -> None:
    """Its metadata holds the key that it was made under; the record names that one too."""
    found = tmp_path / "downloaded.gguf"
    shutil.copyfile(house.study / GGUF, found)
    script = house.workflow / "scripts/convert_gguf.py"
    script.write_text(script.read_text() + "\nif __debug__:\n    _moved = len(__name__)\n")
    accepted = house.script("accept.py", "all", "--configfile", "study.yaml")
    assert accepted.returncode == 0, accepted.stdout
    done = house.script("trace.py", str(found))
    assert done.returncode == 0 and GGUF in done.stdout, done.stdout


def test_rows_impact_and_differences(built: House) -> None:
    row = built.script("trace.py", "--row", "plan-3").stdout
    assert "plans.jsonl" in row and "round 1" in row and "judge 2" in row and "dataset mixed" in row
    impact = built.script("trace.py", "--forward", "plans.jsonl").stdout
    assert "mixed-Q8_0.gguf" in impact and "report.html" in impact
    held = built.script("trace.py", "--forward", "held.jsonl").stdout
    assert "report.html" in held and "mixed-Q8_0.gguf" not in held
    told = built.script("trace.py", "--diff", "results/adapters/plain", "results/adapters/mixed").stdout
    assert "everyday" in told and "share" in told
    same = built.script("trace.py", "--diff", GGUF, GGUF)
    assert same.returncode == 0 and "differ" not in same.stdout.lower().replace("no differ", "")
