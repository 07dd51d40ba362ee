"""One changed byte anywhere in results/ is found, and the file and its job are named; what is no fault is a note."""

import functools
import json
import random
from pathlib import Path

import pytest
from traced_house import built, copied

from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.records import read_record, write_record
from stillhouse.provenance.verification import Verification
from stillhouse.provenance.verify import verify

ADAPTER = "results/adapters/mixed/adapter_model.safetensors"
RECORD = "results/adapters/mixed/record.json"
FLIPPED = 45


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the small results folder, with its sources."""
    return copied(tmp_path)


def checked(house: Path, artefact: str | None = None) -> Verification:
    lineage = Lineage(house)
    return verify(lineage, lineage.find(artefact) if artefact else None, house / "results/ledger")


def told(found: Verification) -> dict[str, str]:
    return {note.path: note.kind for note in found.notes}


def files() -> list[str]:
    """Everything below results/, without empty files."""
    there = sorted(file for file in (built() / "results").rglob("*") if file.is_file() and file.stat().st_size)
    return [file.relative_to(built()).as_posix() for file in there]


@functools.cache
def sample() -> list[str]:
    """`FLIPPED` files, chosen at random within each kind so that no kind is left out."""
    kinds: dict[str, list[str]] = {}
    for name in files():
        parts = Path(name).parts
        kind = parts[1] if parts[1] in ("ledger", ".store") else Path(name).suffix
        kinds.setdefault(kind + ("record" if name.endswith("record.json") else ""), []).append(name)
    rng, chosen = random.Random(20), []
    for names in kinds.values():
        rng.shuffle(names)
    while len(chosen) < FLIPPED:
        chosen += [names.pop() for names in kinds.values() if names]
    return chosen


def job_of(name: str) -> str:
    """The job that a file belongs to, read from the untouched records."""
    records = [json.loads(file.read_text()) for file in (built() / "results").rglob("*record.json")]
    parts = Path(name).parts
    for record in records:
        job = " ".join([record["rule"], *(f"{key}={value}" for key, value in record["wildcards"].items())])
        writer = "-".join([record["rule"], *record["wildcards"].values()])
        own = name in [item["path"] for item in record["artefacts"]]
        if own or record["key"] in parts or (parts[1] == "ledger" and Path(name).stem.rsplit("-", 1)[0] == writer):
            return job
    beside = name.removesuffix(".record.json") if name.endswith(".record.json") else str(Path(name).parent)
    return next(
        " ".join([record["rule"], *(f"{key}={value}" for key, value in record["wildcards"].items())])
        for record in records
        if any(item["path"] == beside or Path(item["path"]).parent.as_posix() == beside for item in record["artefacts"])
    )


def flip(file: Path, place: int, bit: int) -> None:
    """Change one bit of a file that stands for itself: a link to the store would change the entry, too."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.unlink()
    file.write_bytes(data)


def assert_found(house: Path, name: str, place: int, bit: int) -> None:
    sound = (house / name).read_bytes()
    flip(house / name, place, bit)
    faults = [fault for fault in checked(house).faults if fault.path == name]
    assert faults, f"bit {bit} of byte {place} of {name} was not found"
    expected = job_of(name)
    damaged_name = name.endswith("record.json") and expected != faults[0].job
    assert faults[0].job == expected or damaged_name and job_is_in_reach(sound, place), faults[0]
    (house / name).write_bytes(sound)


def job_is_in_reach(sound: bytes, place: int) -> bool:
    """Whether the changed byte is part of what tells a record's rule and wildcards."""
    text = sound.decode()
    start = text.index('"rule":')
    return start <= place < text.index("\n", start) or place >= text.index('"wildcards":') or place < 2


def test_an_untouched_folder_verifies_without_a_note(house: Path) -> None:
    found = checked(house)
    records = sum(1 for _ in (house / "results").rglob("*record.json"))
    assert (found.faults, found.notes) == ([], [])
    assert (found.records, found.entries) == (records, records)
    assert min(found.files, found.lines, found.calls) > 40


@pytest.mark.parametrize("number", range(FLIPPED))
def test_one_flipped_byte_is_found_and_named_with_its_job(house: Path, number: int) -> None:
    name = sample()[number]
    rng = random.Random(name)
    assert_found(house, name, rng.randrange((house / name).stat().st_size), rng.randrange(8))


@pytest.mark.slow
def test_one_flipped_byte_of_any_file_is_found(house: Path) -> None:
    for name in files():
        rng, size = random.Random(name), (house / name).stat().st_size
        for place in (0, size - 1, rng.randrange(size), rng.randrange(size)):
            assert_found(house, name, place, rng.randrange(8))


def test_a_manifest_whose_seal_lost_its_name_is_found(house: Path) -> None:
    """The manifest still agrees with its record: only the strange key tells."""
    key = json.loads((house / RECORD).read_text())["key"]
    name = f"results/.store/{key}/manifest.json"
    flip(house / name, (house / name).read_bytes().index(b'"seal"') + 1, 1)
    assert [(fault.path, fault.job) for fault in checked(house).faults] == [(name, "train_adapter adapter=mixed")]


def test_a_flip_in_place_spoils_the_artefact_and_its_link_in_the_store(house: Path) -> None:
    with open(house / ADAPTER, "r+b") as stream:
        stream.seek(100)
        stream.write(b"?")
    faults = checked(house).faults
    key = json.loads((house / RECORD).read_text())["key"]
    assert {fault.path for fault in faults} == {ADAPTER, f"results/.store/{key}/0000"}
    assert {fault.job for fault in faults} == {"train_adapter adapter=mixed"}


def test_another_spelling_of_the_same_value_in_a_record_is_found(house: Path) -> None:
    text = (house / RECORD).read_text()
    assert "1e-05" in text
    (house / RECORD).write_text(text.replace("1e-05", "1E-05", 1))
    assert [(fault.path, fault.job) for fault in checked(house).faults] == [(RECORD, "train_adapter adapter=mixed")]


def test_a_record_whose_rule_is_unreadable_is_named_by_its_script(house: Path) -> None:
    text = (house / RECORD).read_text()
    (house / RECORD).write_text(text.replace('"rule": "train_adapter"', '"rule": "trbin_adapter"'))
    found = checked(house)
    assert (found.faults[0].path, found.faults[0].job) == (RECORD, "train_adapter adapter=mixed")
    assert told(found)[ADAPTER] == "unknown"


def test_a_missing_artefact_is_a_fault_and_a_missing_source_a_note(house: Path) -> None:
    (house / ADAPTER).unlink()
    (house / "data/held.jsonl").unlink()
    found = checked(house)
    assert [(fault.path, fault.reason) for fault in found.faults] == [(ADAPTER, "missing")]
    assert told(found) == {"data/held.jsonl": "absent"}


def test_a_changed_source_names_the_jobs_that_read_the_older_one(house: Path) -> None:
    flip(house / "data/prompts/plans.jsonl", 3, 0)
    faults = checked(house).faults
    assert [fault.path for fault in faults] == ["data/prompts/plans.jsonl"]
    assert "the older one was read by collect_prompts prompts=plans" in faults[0].reason


def test_an_artefact_made_anew_names_the_jobs_that_read_the_earlier_one(house: Path) -> None:
    record = read_record(house / RECORD)
    flip(house / ADAPTER, 0, 0)
    record["artefacts"][0]["sha256"] = digest_file(house / ADAPTER)
    write_record(house / RECORD, record)
    faults = [
        fault for fault in checked(house, "results/exports/mixed/mixed-Q8_0.gguf").faults if fault.path == ADAPTER
    ]
    assert "made it anew" in faults[0].reason and "merge_adapter export=mixed" in faults[0].reason


def ledger_file(house: Path) -> Path:
    return next((house / "results/ledger").glob("answer_shard-plans-2-*.jsonl"))


def test_a_line_that_a_kill_cut_off_is_a_note(house: Path) -> None:
    file = ledger_file(house)
    line = file.read_bytes().splitlines(keepends=True)[0]
    for torn in (line[:1], line[:40], line[: len(line) // 2], line[:-1]):
        copy = house / "results/ledger/answer_shard-plans-2-00000000.jsonl"
        copy.write_bytes(torn)
        found = checked(house)
        assert found.faults == []
        assert told(found) == {"results/ledger/answer_shard-plans-2-00000000.jsonl": "torn"}


def test_a_last_newline_that_became_another_byte_is_a_fault(house: Path) -> None:
    file = ledger_file(house)
    flip(file, file.stat().st_size - 1, 0)
    assert file.relative_to(house).as_posix() in [fault.path for fault in checked(house).faults]


def test_two_answers_to_one_request_are_a_note(house: Path) -> None:
    file = ledger_file(house)
    again = file.with_name("answer_shard-plans-2-ffffffff.jsonl")
    again.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    found = checked(house)
    assert found.faults == []
    assert [(note.kind, note.text[:14]) for note in found.notes] == [("twice", "2 of its calls")]


def test_a_call_without_an_answer_names_the_file_whose_row_names_it(house: Path) -> None:
    file = ledger_file(house)
    first, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(rest))
    digest = json.loads(first)["digest"]
    faults = {fault.path: fault for fault in checked(house).faults}
    assert digest in faults["results/generations/plans/shards/2.parquet"].reason
    assert faults["results/generations/plans/answers.parquet"].job == "merge_generation generation=plans"


def test_a_ledger_that_is_not_there_is_told_once(house: Path) -> None:
    (house / "results/ledger").rename(house / "elsewhere")
    assert len(checked(house).faults) == 1
    lineage = Lineage(house)
    assert verify(lineage, None, house / "elsewhere").faults == []


def test_files_that_no_record_names_are_notes(house: Path) -> None:
    (house / "results/adapters/mixed/.left.tmp").write_text("x")
    (house / "results/stray.txt").write_text("x")
    found = checked(house)
    assert found.faults == []
    assert told(found) == {"results/adapters/mixed/.left.tmp": "unknown", "results/stray.txt": "unknown"}


def test_odd_entries_of_the_store_are_notes(house: Path) -> None:
    entries = sorted((house / "results/.store").iterdir())
    (entries[0] / "manifest.json").unlink()
    (entries[1] / "0099").write_text("x")
    assert checked(house).faults == []
    assert sorted(told(checked(house)).values()) == ["torn", "unknown"]


def test_an_entry_of_an_earlier_recipe_is_checked_by_its_files(house: Path) -> None:
    key = json.loads((house / RECORD).read_text())["key"]
    entry = (house / "results/.store" / key).rename(house / "results/.store" / ("e" * 64))
    found = checked(house)
    assert found.faults == []
    (entry / "0000").unlink()
    (entry / "0000").write_text("x")
    fault = checked(house).faults[0]
    assert fault.path == f"results/.store/{'e' * 64}/0000" and "train_adapter" in fault.job


def test_what_is_behind_one_artefact_is_checked_alone(house: Path) -> None:
    flip(house / "results/adapters/plain/adapter_model.safetensors", 5, 0)
    assert checked(house, "results/exports/mixed/mixed-Q8_0.gguf").faults == []
    assert [fault.job for fault in checked(house, "results/adapters/plain").faults] == ["train_adapter adapter=plain"]


def test_results_alone_verify(house: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (house / "results").rename(tmp_path / "alone/results")
    found = checked(tmp_path / "alone")
    assert found.faults == []
    assert set(told(found).values()) == {"absent"}
