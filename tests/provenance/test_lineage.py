"""Records are sealed; verification names exactly what was changed, down to a call."""

from pathlib import Path

import pyarrow as pa
import pytest

from stillhouse.errors import RecordError
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance.files import write_parquet
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.records import digest_of, read_record, write_record
from stillhouse.provenance.tables import Tables
from stillhouse.provenance.verify import verify

PROMPTS, ANSWERS, MODEL = (
    "results/prompts/p.parquet",
    "results/generations/g/answers.parquet",
    "results/adapters/a/w.safetensors",
)
CALL = Request({"m": 1}, (("user", "x"),), {})


def record(path: str, rule: str, artefacts: list[str], inputs: list[str]) -> None:
    read = [{"name": "x", **digest_of(name).plain()} for name in inputs]
    write_record(
        path,
        {
            "rule": rule,
            "key": "k",
            "reused": False,
            "artefacts": [digest_of(a).plain() for a in artefacts],
            "inputs": read,
        },
    )


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source, prompts, answers with a call, and an adapter made of them; a stranger beside."""
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text("{}\n")
    ledger = Ledger("results/ledger", "w")
    ledger.append(CALL, "m", Completion("the answer", "stop"), Bill(None, 0, 1))
    ledger.close()
    schema = pa.schema([("id", pa.string()), ("calls", pa.list_(pa.string()))])
    write_parquet(PROMPTS, [], pa.schema([("id", pa.string())]))
    record(f"{PROMPTS}.record.json", "collect_prompts", [PROMPTS], ["prompts.jsonl"])
    write_parquet(ANSWERS, [{"id": "a", "calls": [CALL.digest]}], schema)
    record("results/generations/g/record.json", "merge_generation", [ANSWERS], [PROMPTS])
    Path(MODEL).parent.mkdir(parents=True)
    Path(MODEL).write_text("weights")
    record("results/adapters/a/record.json", "train_adapter", [MODEL], [ANSWERS])
    Path("results/stranger.txt").write_text("s")
    record("results/stranger.txt.record.json", "other", ["results/stranger.txt"], [])
    return tmp_path


def faults(house: Path, artefact: str = MODEL) -> list[tuple[str, str]]:
    lineage = Lineage(house)
    found = verify(lineage, lineage.find(artefact), house / "results/ledger")
    return [(fault.path, fault.reason) for fault in found.faults]


def flip(file: str, place: int = 0) -> None:
    data = bytearray(Path(file).read_bytes())
    data[place] ^= 1
    Path(file).write_bytes(data)


def test_an_untouched_house_verifies_and_the_ancestry_reaches_calls(house: Path) -> None:
    lineage = Lineage(house)
    node = lineage.find(MODEL)
    assert [n.record["rule"] for n in lineage.ancestry(node)] == [
        "train_adapter",
        "merge_generation",
        "collect_prompts",
    ]
    assert list(Tables(lineage).get(ANSWERS, "calls").call_groups()) == [[CALL.digest]]
    assert [item["path"] for item in lineage.sources(lineage.find(PROMPTS))] == ["prompts.jsonl"]
    found = verify(lineage, node, house / "results/ledger")
    assert (found.files, found.calls, found.faults) == (4, 1, [])
    assert lineage.find(str(house / MODEL)) is node


@pytest.mark.parametrize("file", ["prompts.jsonl", PROMPTS, ANSWERS, MODEL])
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_byte_of_any_ancestor_is_named(house: Path, file: str, place: int) -> None:
    flip(file, place)
    found = faults(house)
    assert file in [path for path, reason in found if reason.startswith("changed")]


@pytest.mark.parametrize("file", [PROMPTS, ANSWERS, MODEL])
def test_a_missing_ancestor_is_named(house: Path, file: str) -> None:
    Path(file).unlink()
    assert (file, "missing") in faults(house)


def test_a_missing_source_is_no_fault(house: Path) -> None:
    Path("prompts.jsonl").unlink()
    lineage = Lineage(house)
    found = verify(lineage, lineage.find(MODEL), house / "results/ledger")
    assert (found.faults, [(note.kind, note.path) for note in found.notes]) == ([], [("absent", "prompts.jsonl")])


def test_a_strangers_change_does_not_matter(house: Path) -> None:
    flip("results/stranger.txt")
    assert faults(house) == []


def test_a_changed_ledger_line_is_named_and_its_call_missed(house: Path) -> None:
    file = next(Path("results/ledger").glob("*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"the answer", b"an answer!"))
    paths, reasons = zip(*faults(house), strict=True)
    assert str(file) in paths
    assert any(CALL.digest in reason for reason in reasons)


def test_a_missing_ledger_is_told(house: Path) -> None:
    next(Path("results/ledger").glob("*.jsonl")).unlink()
    assert any(CALL.digest in reason for _, reason in faults(house))


@pytest.mark.parametrize("file", [f"{PROMPTS}.record.json", "results/generations/g/record.json"])
@pytest.mark.parametrize(("old", "new"), [('"rule": "', '"rule": "x'), ('"size": ', '"size": 1'), ("{", "")])
def test_a_changed_record_is_named(house: Path, file: str, old: str, new: str) -> None:
    Path(file).write_text(Path(file).read_text().replace(old, new, 1))
    with pytest.raises(RecordError, match=r"changed after it was written|not a readable record"):
        read_record(file)
    assert file in [path for path, _ in faults(house)]


def test_a_changed_record_of_the_artefact_itself_is_told(house: Path) -> None:
    flip("results/adapters/a/record.json", 30)
    with pytest.raises(RecordError, match=r"w\.safetensors"):
        faults(house)


def test_what_no_record_names_is_told(house: Path) -> None:
    with pytest.raises(RecordError, match=r"no record below .* names 'results/none'"):
        Lineage(house).find("results/none")


def test_a_record_of_another_schema_is_refused(house: Path) -> None:
    Path("r.json").write_text('{"schema": 99}')
    with pytest.raises(RecordError, match="not a record of schema 1"):
        read_record("r.json")


def test_the_store_and_the_ledger_hold_no_records(house: Path) -> None:
    Path("results/.store/k").mkdir(parents=True)
    Path("results/.store/k/record.json").write_text("{")
    assert faults(house) == []


def test_the_graph_is_walked_both_ways(house: Path) -> None:
    lineage = Lineage(house)
    prompts, answers, model = (lineage.find(path) for path in (PROMPTS, ANSWERS, MODEL))
    assert lineage.descent(prompts) == [prompts, answers, model] == lineage.ancestry(model)[::-1]
    assert lineage.children(prompts) == lineage.readers(PROMPTS) == [answers]
    assert lineage.outdated(model) == []
    assert lineage.find("results/adapters/a") is lineage.find("results/adapters/a/record.json") is model


def test_an_input_that_was_made_anew_is_outdated(house: Path) -> None:
    write_parquet(PROMPTS, [{"id": "new"}], pa.schema([("id", pa.string())]))
    record(f"{PROMPTS}.record.json", "collect_prompts", [PROMPTS], ["prompts.jsonl"])
    lineage = Lineage(house)
    assert [item["path"] for item in lineage.outdated(lineage.find(ANSWERS))] == [PROMPTS]


def test_a_job_that_reads_records_came_from_their_jobs(house: Path) -> None:
    Path("results/page.html").write_text("p")
    read = [f"{PROMPTS}.record.json", "results/adapters/a/record.json"]
    record("results/page.html.record.json", "write_page", ["results/page.html"], read)
    lineage = Lineage(house)
    page = lineage.find("results/page.html")
    assert lineage.parents(page) == [lineage.find(PROMPTS), lineage.find(MODEL)]
    assert (lineage.sources(page), lineage.outdated(page)) == ([], [])
    record("results/adapters/a/record.json", "train_adapter", [MODEL], [])
    lineage = Lineage(house)
    found = verify(lineage, lineage.find("results/page.html"), house / "results/ledger")
    assert [(note.kind, note.path) for note in found.notes] == [("outdated", "results/adapters/a/record.json")]


@pytest.mark.parametrize(
    "change", [{"rule": 3}, {"inputs": None}, {"artefacts": []}, {"artefacts": ["x"]}, {"inputs": [{"path": "x"}]}]
)
def test_a_sealed_record_that_is_not_whole_is_left_out(house: Path, change: dict) -> None:
    file = Path("results/adapters/a/record.json")
    write_record(file, {**read_record(file), **change})
    lineage = Lineage(house)
    assert [(broken.path, broken.reason[:8]) for broken in lineage.broken] == [(str(file), "it lacks")]


@pytest.mark.parametrize("text", ["", "{", "[]", "NaN", '{"schema": 1, "x": NaN}', "[" * 100_000, "\x00", '"a"'])
def test_garbage_in_place_of_a_record_is_left_out(house: Path, text: str) -> None:
    Path("results/adapters/a/record.json").write_text(text)
    lineage = Lineage(house)
    assert len(lineage.broken) == 1 and len(lineage.nodes) == 3
    with pytest.raises(RecordError, match=r"the record of results/adapters/a/w\.safetensors is"):
        lineage.find(MODEL)


def test_results_may_be_a_link(house: Path, tmp_path: Path) -> None:
    Path("elsewhere").mkdir()
    (tmp_path / "elsewhere/results").symlink_to(house / "results")
    lineage = Lineage(tmp_path / "elsewhere")
    assert len(lineage.nodes) == 4
    assert lineage.find(MODEL) is lineage.find(house / MODEL) is lineage.find(tmp_path / "elsewhere" / MODEL)
