"""The RO-Crate of a study: what stands in it, and what the profile's own validator says."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_jobs import USAGE, run_tiny

from stillhouse.errors import RecordError
from stillhouse.provenance.crate import MAIN, OWN_LICENCE, PROFILES, crate_document
from stillhouse.provenance.crate_files import content_uri
from stillhouse.provenance.digests import canonical_json, digest_file
from stillhouse.provenance.files import read_json, write_json
from stillhouse.provenance.job import Facts, Files, Params
from stillhouse.provenance.records import USAGE as USAGE_FIELDS
from stillhouse.provenance.records import digest_of, write_record
from stillhouse.provenance.study_records import COUNTED, study_nodes

ROOT = Path(__file__).parents[2]
VALIDATE = [sys.executable, str(ROOT / "envs/validate_crate.py")]
NOT_INSTALLED = 3
FOLDER = Path("results/provenance")
CRATE = FOLDER / "ro-crate-metadata.json"
WORKFLOW = ["LICENSE", "Snakefile", "rules/common.smk", "rules/provenance.smk"]
MODELS = [{"name": "teacher", "backend": "openai", "model": "org/teacher", "served": ["org/teacher-0711"]}]

PROMPTS, ANSWERS = "results/prompts/p q.parquet", "results/generations/g/answers.parquet"
WEIGHTS, CARD = "results/adapters/a/adapter_model.safetensors", "results/exports/x/README.md"
STRANGER = "results/prompts/left over.parquet"


def record_of(artefact: str) -> Path:
    return Path(f"{artefact}.record.json")


def job(rule: str, inputs: dict[str, Any], artefact: str, facts: Facts | None = None, **recipe: Any) -> Path:
    """One job of the study, run by the real wrapper; its record is returned."""

    def main(_: Files, outputs: Files, __: Params) -> Facts:
        outputs.made.parent.mkdir(parents=True, exist_ok=True)
        outputs.made.write_text(f"{rule} {canonical_json(recipe)}")
        return facts or {}

    outputs = {"made": artefact, "record": record_of(artefact).as_posix()}
    run_tiny(main, rule, inputs, outputs, recipe, {"name": "a&b"})
    return record_of(artefact)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a study was built and its crate written by the rule's own script."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(ROOT / "scripts"))
        build(folder)
    return folder


def build(folder: Path) -> list[Path]:
    elsewhere = folder.parent / "a file from elsewhere.md"
    elsewhere.write_text("system")
    Path("data").mkdir(exist_ok=True)
    Path("data/prompts.jsonl").write_text("{}\n")
    job("collect_prompts", {"source": "data/prompts.jsonl"}, STRANGER, set="left over")
    asked = {**USAGE, "models": MODELS, "answered": 4}
    records = [
        job("collect_prompts", {"source": "data/prompts.jsonl"}, PROMPTS, set="p q"),
        job("answer_shard", {"prompts": PROMPTS, "system": [str(elsewhere)]}, ANSWERS, asked, sampling={"seed": 7}),
        job("train_adapter", {"answers": ANSWERS}, WEIGHTS, rank=4),
        job(
            "write_model_card",
            {"weights": WEIGHTS},
            CARD,
            front={"license": ["apache-2.0", "other"], "license_name": "Ours <1>"},
        ),
    ]
    Path(WEIGHTS).unlink()
    job("train_adapter", {"answers": ANSWERS}, WEIGHTS, rank=4)  # out of the store
    write(records)
    return records


def write(records: list[Path]) -> None:
    """Run the script of rule write_crate as a job."""
    import write_crate

    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "lineage.html").write_text("<!doctype html><p>lineage")
    inputs = {"records": [str(record) for record in records], "page": str(FOLDER / "lineage.html")}
    outputs = {
        "crate": str(CRATE),
        "workflow": [f"{FOLDER}/workflow/{name}" for name in WORKFLOW],
        "record": f"{CRATE}.record.json",
    }
    recipe = {"workflow": {name: digest_file(ROOT / name) for name in WORKFLOW}}
    run_tiny(write_crate.main, "write_crate", inputs, outputs, recipe)


@pytest.fixture(scope="module")
def graph(study: Path) -> dict[str, dict[str, Any]]:
    """The crate's entities by identifier."""
    return {entity["@id"]: entity for entity in read_json(study / CRATE)["@graph"]}


def named(graph: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entity for entity in graph.values() if entity.get("name") == name)


def references(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each["@id"] for each in values if isinstance(each, dict)]


# what stands in it


def test_every_job_is_an_action_with_what_it_read_and_made(graph: dict[str, Any]) -> None:
    answer = named(graph, "answer_shard name=a&b")
    assert answer["@type"] == "CreateAction"
    tool = graph[answer["instrument"]["@id"]]
    assert (tool["name"], tool["@type"]) == ("answer_shard", "SoftwareApplication")
    read = [graph[each] for each in references(answer["object"])]
    assert [each["name"] for each in read if each["@type"] == "File"] == [PROMPTS, "a file from elsewhere.md"]
    assert {each["name"]: each["value"] for each in read if each["@type"] == "PropertyValue"} == {
        "recipe of answer_shard": '{"sampling":{"seed":7}}'
    }
    assert [each["name"] for each in read if each["@type"] == "CreativeWork"] == ["model teacher"]
    assert [graph[each]["name"] for each in references(answer["result"])] == [ANSWERS]
    used = {graph[each]["name"]: graph[each]["value"] for each in references(answer["resourceUsage"])}
    assert used.pop("seconds")
    assert used == {name: str(value) for name, value in USAGE.items()}
    assert graph[answer["subjectOf"]["@id"]]["name"] == record_of(ANSWERS).as_posix()


def test_results_of_one_job_are_what_the_next_one_read(graph: dict[str, Any]) -> None:
    made = references(named(graph, "answer_shard name=a&b")["result"])
    assert set(made) <= set(references(named(graph, "train_adapter name=a&b")["object"]))


def test_files_carry_digest_size_type_and_no_place_on_this_machine(study: Path, graph: dict[str, Any]) -> None:
    weights = named(graph, WEIGHTS)
    about = digest_of(study / WEIGHTS)
    assert (weights["sha256"], weights["contentSize"]) == (about.sha256, str(about.size))
    assert weights["@id"].startswith("arcp://uuid,")
    assert weights["@id"].endswith(f"/{WEIGHTS}")
    assert named(graph, PROMPTS)["@id"].endswith("/results/prompts/p%20q.parquet")
    assert named(graph, "a file from elsewhere.md")["@id"].startswith("ni:///sha-256;")
    text = (study / CRATE).read_text()
    assert str(study) not in text
    assert str(study.parent) not in text


def test_a_reused_file_has_the_times_of_the_work(study: Path, graph: dict[str, Any]) -> None:
    record = read_json(study / record_of(WEIGHTS))
    action = named(graph, "train_adapter name=a&b")
    assert record["reused"]
    assert (action["startTime"], action["endTime"]) == (record["origin"]["started"], record["origin"]["finished"])
    assert "store" in action["description"]


def test_what_the_study_no_longer_names_is_left_out(study: Path, graph: dict[str, Any]) -> None:
    assert (study / record_of(STRANGER)).is_file()
    assert STRANGER not in {entity.get("name") for entity in graph.values()}


def test_licences_of_cards_reach_the_files_beside_them(graph: dict[str, Any]) -> None:
    card = [graph[each]["name"] for each in references(named(graph, CARD)["license"])]
    assert card == ["Apache-2.0", "Ours <1>"]
    assert "license" not in named(graph, WEIGHTS)


def test_the_workflow_is_in_the_crate_under_its_licence(study: Path, graph: dict[str, Any]) -> None:
    main = graph[MAIN]
    assert graph["./"]["mainEntity"] == {"@id": MAIN}
    assert graph[main["programmingLanguage"]["@id"]]["name"] == "Snakemake"
    assert {graph[each]["name"] for each in references(main["step"])} == {
        "collect_prompts", "answer_shard", "train_adapter", "write_model_card"
    }  # fmt: skip
    for name in WORKFLOW:
        assert (study / FOLDER / "workflow" / name).read_bytes() == (ROOT / name).read_bytes()
        assert graph[f"workflow/{name}"]["sha256"] == digest_file(ROOT / name)
        assert graph[graph[f"workflow/{name}"]["license"]["@id"]]["name"] == OWN_LICENCE
    assert "license" not in graph["lineage.html"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_every_reference_leads_somewhere(graph: dict[str, Any]) -> None:
    for entity in graph.values():
        for name, value in entity.items():
            for target in references(value):
                known = target in graph or name in ("conformsTo", "identifier", "url")
                assert known, (entity["@id"], name, target)


def test_the_library_reads_it_back(study: Path) -> None:
    from rocrate.rocrate import ROCrate

    crate = ROCrate(study / FOLDER)
    assert crate.mainEntity.id == MAIN
    assert len(crate.get_by_type("CreateAction")) == 5


def document(records: list[Path]) -> dict[str, Any]:
    """The crate of `records` without copying anything, by the library alone."""
    snakefile = replace(digest_of(ROOT / "Snakefile"), path=MAIN)
    return crate_document(study_nodes(Path(), records), [digest_of(file) for file in records], [snakefile])


def test_the_same_records_give_the_same_document(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    records = [record_of(artefact) for artefact in (PROMPTS, ANSWERS, WEIGHTS, CARD)]
    first, second = document(records), document(records)
    assert json.dumps(first) == json.dumps(second)
    assert {each["@id"] for each in document(records[::-1])["@graph"]} == {each["@id"] for each in first["@graph"]}


def test_a_source_that_changed_between_two_jobs_is_two_entities(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = []
    for text in ("one", "two"):
        Path("source.txt").write_text(text)
        records.append(job("collect_prompts", {"source": "source.txt"}, f"results/prompts/{text}.parquet", set=text))
    found = [each for each in document(records)["@graph"] if each.get("name") == "source.txt"]
    assert len({each["@id"] for each in found}) == len({each["sha256"] for each in found}) == 2


def test_jobs_of_one_rule_with_other_code_have_other_tools(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    old = read_json(record_of(PROMPTS))
    older = {**old, "artefacts": [{**old["artefacts"][0], "path": "results/prompts/older.parquet"}]}
    older["code"] = {"digest": "0" * 64, "files": {}}
    write_record("results/prompts/older.parquet.record.json", older)
    graph = document([record_of(PROMPTS), Path("results/prompts/older.parquet.record.json")])["@graph"]
    tools = [each for each in graph if each["@id"].startswith("#tool/")]
    assert {each["softwareVersion"] for each in tools} == {old["code"]["digest"], "0" * 64}
    step = next(each for each in graph if each["@type"] == "HowToStep")
    assert references(step["workExample"]) == [each["@id"] for each in tools]


def test_a_content_uri_is_that_of_rfc_6920() -> None:
    # the example of section 8.1: "Hello World!"
    sha256 = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"
    assert content_uri(sha256) == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
    assert base64.urlsafe_b64decode(content_uri(sha256).split(";")[1] + "=").hex() == sha256


# records that do not do


def test_a_broken_or_missing_record_stops_it(study: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(RecordError, match="nothing to build"):
        study_nodes(tmp_path, [])
    with pytest.raises(RecordError, match="there is no such record; build it again"):
        study_nodes(tmp_path, [Path("results/none.record.json")])
    record = read_json(study / record_of(PROMPTS))
    write_json(tmp_path / "results/x.record.json", {**record, "rule": "other"})
    with pytest.raises(RecordError, match="changed after it was written"):
        study_nodes(tmp_path, [Path("results/x.record.json")])
    for absent in ("recipe", "code", "run"):
        write_record(tmp_path / "results/x.record.json", {**record, absent: None})
        with pytest.raises(RecordError, match=f"it lacks {absent}; build it again"):
            study_nodes(tmp_path, [Path("results/x.record.json")])
    write_record(tmp_path / "results/x.record.json", {**record, "artefacts": []})
    with pytest.raises(RecordError, match="build it again"):
        study_nodes(tmp_path, [Path("results/x.record.json")])


def test_what_is_told_of_calls_is_what_records_hold() -> None:
    assert COUNTED == USAGE_FIELDS


def test_records_in_a_circle_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("source.txt").write_text("one")
    one = job("collect_prompts", {"source": "source.txt"}, "results/prompts/one.parquet", set="one")
    two = job("collect_prompts", {"source": "results/prompts/one.parquet"}, "results/prompts/two.parquet", set="two")
    record = read_json(one)
    write_record(one, {**record, "inputs": [{"name": "x", **digest_of("results/prompts/two.parquet").plain()}]})
    with pytest.raises(RecordError, match=r"in a circle: .*one\.parquet.*; build them again"):
        study_nodes(Path(), [one, two])


# what the validator says


def validated(folder: Path, *options: str) -> dict[str, Any]:
    """The validator's report on a crate, without network."""
    report = folder.parent / f"{folder.name}.report.json"
    command = [*VALIDATE, str(folder), "--output-format", "json", "--output-file", str(report), *options]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == NOT_INSTALLED:
        pytest.skip(done.stdout.strip())
    told = read_json(report)
    assert done.returncode == (0 if told["passed"] else 1), done.stdout
    return told


UNMET = {
    "ro-crate-1.1_28.1": "files outside the crate are not fetched from the web",
    "ro-crate-1.1_22.2": "nobody says who the author is",
    "ro-crate-1.1_22.3": "nor who publishes it",
    "process-run-crate-0.5_8.6": "records name no person as agent",
    "process-run-crate-0.5_5.1": "rules have no address on the web",
    "process-run-crate-0.5_3.2": "and no page",
    "workflow-ro-crate-1.0_6.1": "there is no README.md in the crate",
    "workflow-ro-crate-1.0_6.2": "nor a type of it",
}
"""Recommendations that the crate does not follow, and why (docs/lineage.md)."""


@pytest.mark.slow
def test_the_crate_is_valid(study: Path) -> None:
    told = validated(study / FOLDER)
    assert told["passed"], told["issues"]
    assert told["validation_settings"]["offline"]
    checked = told["statistics"]
    assert (checked["total_checks"] > 80, checked["total_skipped_checks"]) == (True, 0)
    assert len(checked["profiles"]) == 5


@pytest.mark.slow
def test_it_follows_all_recommendations_but_the_known_ones(study: Path) -> None:
    told = validated(study / FOLDER, "--requirement-severity", "recommended")
    assert {issue["check"]["identifier"] for issue in told["issues"]} == set(UNMET)


Document = dict[str, Any]


def entity(document: Document, identifier: str) -> dict[str, Any]:
    return next(each for each in document["@graph"] if each["@id"] == identifier)


def actions(document: Document) -> list[dict[str, Any]]:
    return [each for each in document["@graph"] if each["@type"] == "CreateAction"]


def drop(document: Document, identifier: str) -> None:
    document["@graph"].remove(entity(document, identifier))


SPOILS: dict[str, Callable[[Document], Any]] = {
    "no licence": lambda d: entity(d, "./").pop("license"),
    "no main entity": lambda d: entity(d, "./").pop("mainEntity"),
    "no profile": lambda d: entity(d, "./").pop("conformsTo"),
    "no action's tool": lambda d: [each.pop("instrument") for each in actions(d)],
    "no language": lambda d: entity(d, MAIN).pop("programmingLanguage"),
    "a payload that is not there": lambda d: entity(d, "lineage.html").update({"@id": "other.html"}),
    "no step's tool": lambda d: [each.pop("workExample") for each in d["@graph"] if each["@type"] == "HowToStep"],
    "no run of the workflow": lambda d: drop(d, "#run"),
    "another vocabulary": lambda d: d.update({"@context": "https://w3id.org/ro/crate/1.2/context"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_the_validator_refuses_a_broken_crate(study: Path, tmp_path: Path, spoil: Callable[[Document], Any]) -> None:
    crate = tmp_path / "crate"
    shutil.copytree(study / FOLDER, crate)
    broken = read_json(crate / CRATE.name)
    spoil(broken)
    write_json(crate / CRATE.name, broken)
    assert not validated(crate)["passed"]


@pytest.mark.slow
def test_the_validator_misses_the_workflow_file(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / FOLDER, tmp_path / "crate")
    (tmp_path / "crate" / MAIN).unlink()
    told = validated(tmp_path / "crate")
    assert any(MAIN in issue["message"] for issue in told["issues"])


def test_all_profiles_are_named(graph: dict[str, Any]) -> None:
    assert set(references(graph["./"]["conformsTo"])) == set(PROFILES)
