"""The published schema of the record holds what the job wrapper writes, and refuses what it never writes."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tiny_jobs import USAGE, run_tiny

from stillhouse.provenance.files import read_json
from stillhouse.provenance.job import Facts, Files, Params
from stillhouse.provenance.record_schema import Record, record_schema
from stillhouse.provenance.records import SCHEMA

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs/record.schema.json"
ARTEFACT, RECORD = "results/generations/g/shards/0.parquet", "results/generations/g/shards/0.parquet.record.json"
SHA = "0" * 64


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a job that asks models leaves behind."""
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text("{}\n")
    return run()


def answer(_: Files, outputs: Files, __: Params) -> Facts:
    outputs.shard.parent.mkdir(parents=True, exist_ok=True)
    outputs.shard.write_text("answers")
    served = {"name": "teacher", "backend": "openai", "model": "org/teacher", "served": ["org/teacher-0711"]}
    local = {"name": "judge", "backend": "llama_cpp", "weights": SHA, "context": 2048, "served": []}
    tuned = {"name": "student", "backend": "transformers", "weights": [SHA, SHA], "dtype": "float32", "served": []}
    replayed = {"name": "earlier", "backend": "recorded", "file": SHA, "served": []}
    return {**USAGE, "answered": 4, "failed": 0, "note": None, "models": [served, local, tuned, replayed]}


def run() -> dict[str, Any]:
    """The record of a tiny job; the second time its files come out of the store."""
    recipe = {"generation": "g", "sampling": {"seed": 7, "stop": []}, "roles": [{"seed": 3}]}
    inputs, outputs = {"prompts": "prompts.jsonl", "grammar": []}, {"shard": ARTEFACT, "record": RECORD}
    wildcards = {"generation": "g", "shard": "0"}
    return run_tiny(answer, "answer_shard", inputs, outputs, recipe, wildcards, content=lambda *_: {"prompts": SHA})


def faults(record: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(read_json(PUBLISHED))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(record)]


def test_the_published_schema_is_that_of_the_classes() -> None:
    told = json.loads(json.dumps(record_schema()))
    assert read_json(PUBLISHED) == told, "run `make docs`"
    jsonschema.Draft202012Validator.check_schema(told)
    assert told["properties"]["schema"]["const"] == SCHEMA


def test_every_field_of_the_record_says_what_it_holds() -> None:
    schema = record_schema()
    for name, about in schema["properties"].items():
        target = about.get("$ref") or about.get("items", {}).get("$ref")
        described = about.get("description") or (target and schema["$defs"][target.split("/")[-1]].get("description"))
        assert described, name


def test_a_real_record_is_valid_made_or_reused(record: dict[str, Any]) -> None:
    assert record["usage"] == USAGE
    assert record["seeds"] == {"sampling.seed": 7, "roles.0.seed": 3}
    assert faults(record) == []
    Record.model_validate(record)
    again = run()
    assert (record["reused"], again["reused"]) == (False, True)
    assert again["origin"] == record["run"]
    assert faults(again) == []


def test_a_record_of_a_job_without_model_or_inputs_is_valid(record: dict[str, Any]) -> None:
    plain = {**record, "usage": None, "models": [], "seeds": {}, "inputs": [], "wildcards": {}, "contents": {}}
    assert faults(plain) == []


@pytest.mark.parametrize("absent", sorted(record_schema()["required"]))
def test_every_field_is_needed(record: dict[str, Any], absent: str) -> None:
    del record[absent]
    assert any(absent in fault for fault in faults(record))


SPOILS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown field": lambda r: r.update(note="x"),
    "unknown field inside": lambda r: r["run"].update(user="me"),
    "another schema": lambda r: r.update(schema=1),
    "no artefact": lambda r: r.update(artefacts=[]),
    "digest in capitals": lambda r: r["artefacts"][0].update(sha256="A" * 64),
    "short key": lambda r: r.update(key="0" * 63),
    "negative size": lambda r: r["inputs"][0].update(size=-1),
    "size as text": lambda r: r["inputs"][0].update(size="1"),
    "local time": lambda r: r["run"].update(started="2026-07-01T10:00:00+02:00"),
    "day only": lambda r: r["run"].update(finished="2026-07-01"),
    "no thread": lambda r: r["run"].update(threads=0),
    "half a commit": lambda r: r["run"].update(workflow={"commit": "abc", "dirty": False}),
    "calls as text": lambda r: r["usage"].update(calls_made="3"),
    "negative cost": lambda r: r["usage"].update(usd=-0.1),
    "unknown backend": lambda r: r["models"][0].update(backend="telepathy"),
    "key of an API": lambda r: r["models"][0].update(api_key="secret"),
    "seed as text": lambda r: r["seeds"].update({"sampling.seed": "7"}),
    "wildcard as number": lambda r: r["wildcards"].update(shard=0),
    "code file without digest": lambda r: r["code"]["files"].update({"scripts/x.py": None}),
    "reused without origin": lambda r: r.update(reused=True),
    "origin without reuse": lambda r: r.update(origin=r["run"]),
    "acceptance without reason": lambda r: r.update(accepted=[{"key": SHA, "code": SHA, "files": [], "at": "x"}]),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_what_a_job_never_writes_is_refused(record: dict[str, Any], spoil: Callable[[dict[str, Any]], Any]) -> None:
    spoilt = copy.deepcopy(record)
    spoil(spoilt)
    assert faults(spoilt)


@pytest.mark.parametrize(
    "path",
    [
        "/home/me/study/results/generations/g/answers.parquet", "/results/models/m/model.gguf", "results",
        "results/", "results/../secret", "results/a/../../b", "results/a/./b", "results//a",
    ],
)  # fmt: skip
def test_no_path_of_a_result_is_absolute_or_crooked(record: dict[str, Any], path: str) -> None:
    for part in ("artefacts", "inputs"):
        spoilt = copy.deepcopy(record)
        spoilt[part][0]["path"] = path
        assert faults(spoilt), part


@pytest.mark.parametrize(
    "path", ["data/x.jsonl", "/etc/passwd", "../results/x", "results/.store/k/0000", "results/ledger/a.jsonl"]
)
def test_artefacts_lie_below_results_and_neither_in_the_store_nor_in_the_ledger(
    record: dict[str, Any], path: str
) -> None:
    record["artefacts"][0]["path"] = path
    assert faults(record)


@pytest.mark.parametrize(
    "path",
    ["data/x.jsonl", "../shared/x.jsonl", "/data/prompts.jsonl", "/data/results/recorded.jsonl", "wörter/a b%20.md"],
)
def test_inputs_from_elsewhere_are_taken(record: dict[str, Any], path: str) -> None:
    record["inputs"][0]["path"] = path
    assert faults(record) == []


def test_running_a_job_does_not_load_the_schema() -> None:
    importers = [
        file.name
        for file in (ROOT / "scripts").rglob("*.py")
        if "record_schema" in file.read_text(encoding="utf-8") and file.name != "record_schema.py"
    ]
    assert importers == ["render_docs.py"]
