"""The index of a ledger is a cache: it may be lost, old, damaged or from elsewhere, and answers stay the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import LedgerError
from stillhouse.llm.ledger import Bill, Ledger, encode_line
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance import call_places, ledger_index
from stillhouse.provenance.call_places import Places, Spot
from stillhouse.provenance.index_file import load_index
from stillhouse.provenance.ledger_index import FOLDER

SCRIPTS = Path(__file__).parents[2] / "scripts"
BILL = Bill(None, 0.5, 1)
LEDGER = "results/ledger"


def request(number: int) -> Request:
    return Request({"m": 1}, (("user", f"question {number}"),), {})


def line(number: int, text: str = "") -> bytes:
    return encode_line(request(number), "m", Completion(text or f"answer {number}", "stop"), BILL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of three files with ten calls each, of which an index is kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledger_index, "KEPT_FROM", 1)
    ledger = tmp_path / LEDGER
    ledger.mkdir(parents=True)
    for job in range(3):
        (ledger / f"w-{job}.jsonl").write_bytes(b"".join(line(number) for number in range(10 * job, 10 * job + 10)))
    return ledger


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(file, from which byte) of every scan."""
    seen: list[tuple[str, int]] = []
    scan = ledger_index.lines_from
    monkeypatch.setattr(ledger_index, "lines_from", lambda f, start: seen.append((f.name, start)) or scan(f, start))
    return seen


def answers(numbers: range = range(30)) -> list[str | None]:
    ledger = Ledger(LEDGER)
    calls = [ledger.get(request(number).digest) for number in numbers]
    return [call and call.text for call in calls]


ALL = [f"answer {number}" for number in range(30)]


def store() -> Path:
    return next(FOLDER.glob("*.idx"))


def test_the_second_job_scans_nothing(folder: Path, scanned: list) -> None:
    assert answers() == ALL
    assert scanned == [(f"w-{job}.jsonl", 0) for job in range(3)]
    scanned.clear()
    assert answers() == ALL and len(Ledger(LEDGER)) == 30
    assert scanned == []


def test_only_what_was_appended_is_scanned(folder: Path, scanned: list) -> None:
    assert answers() == ALL
    end = (folder / "w-1.jsonl").stat().st_size
    for number in (30, 31):
        with open(folder / "w-1.jsonl", "ab") as stream:
            stream.write(line(number))
    scanned.clear()
    assert answers(range(32)) == [*ALL, "answer 30", "answer 31"]
    assert scanned == [("w-1.jsonl", end)]


def test_a_line_that_was_cut_is_looked_at_again_when_it_is_whole(folder: Path) -> None:
    whole = line(30)
    with open(folder / "w-2.jsonl", "ab") as stream:
        stream.write(whole[:50])
    assert answers(range(31)) == [*ALL, None]
    with open(folder / "w-2.jsonl", "ab") as stream:
        stream.write(whole[50:])
    assert answers(range(31)) == [*ALL, "answer 30"]


def test_a_small_ledger_gets_no_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    os.chdir(folder.parents[1])
    assert answers() == ALL
    assert not FOLDER.exists()


def test_what_a_job_made_is_in_the_index_when_it_ends(folder: Path, scanned: list) -> None:
    answers()
    ledger = Ledger(LEDGER, "own")
    for number in range(30, 40):
        ledger.append(request(number), "m", Completion(f"answer {number}", "stop"), BILL)
    ledger.close()
    scanned.clear()
    assert answers(range(40)) == [*ALL, *(f"answer {number}" for number in range(30, 40))]
    assert scanned == []


def rewritten(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(line(3)[:40], line(3, "new")[:40]).replace(b"answer 4", b"answer x"))


def shortened(file: Path) -> None:
    with open(file, "rb+") as stream:
        stream.truncate(file.stat().st_size // 2)


def reversed_lines(file: Path) -> None:
    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))


def purged_and_grown(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    del lines[4]
    file.write_bytes(b"".join([*lines, line(40), line(41)]))


def removed(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    file.write_bytes(b"".join(line(number, "other") for number in range(0, 20)))


CHANGES = [rewritten, shortened, reversed_lines, purged_and_grown, removed, replaced]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_that_is_not_what_it_was_gives_the_answers_of_today(folder: Path, change, same_time: bool) -> None:
    """`same_time`: the change hides behind the time of the older file."""
    assert answers() == ALL
    file = folder / "w-0.jsonl"
    before = file.stat()
    change(file)
    if same_time and file.exists():
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
        if change is rewritten:  # same size and time: an error the first time a changed line is asked for
            with pytest.raises(LedgerError, match=request(4).digest):
                answers()
    found = answers(range(42))
    shutil.rmtree(FOLDER)
    assert found == answers(range(42))


@pytest.mark.parametrize("content", [b"", b"no index", b"calls\0\0\1", b"calls\0\0\1" + b"\xff" * 100])
def test_a_damaged_index_is_built_anew(folder: Path, content: bytes) -> None:
    answers()
    store().write_bytes(content)
    assert answers() == ALL
    assert load_index(store()) is not None


def test_no_flipped_byte_of_an_index_changes_an_answer(folder: Path) -> None:
    answers()
    whole = store().read_bytes()
    for place in range(0, len(whole), 7):
        store().write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_index(store()) is None
    store().write_bytes(whole[:-1])
    assert answers() == ALL


def test_an_index_of_another_ledger_of_the_same_name_is_noticed(folder: Path, tmp_path: Path) -> None:
    answers()
    for job in range(3):
        (folder / f"w-{job}.jsonl").write_bytes(b"".join(line(n, "y") for n in range(10 * job, 10 * job + 10)))
    assert answers() == ["y"] * 30


def test_where_no_index_can_be_kept_answers_are_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path(".stillhouse").write_text("a file in the way")
    assert answers() == ALL
    assert "the index is not kept" in caplog.text


def test_two_jobs_that_build_it_at_once_do_no_harm(folder: Path) -> None:
    code = (
        "from stillhouse.provenance import ledger_index; ledger_index.KEPT_FROM = 1\n"
        "from stillhouse.llm.ledger import Ledger; print(len(Ledger('results/ledger')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    jobs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(4)
    ]
    assert [job.communicate(timeout=60)[0] for job in jobs] == ["30\n"] * 4
    assert load_index(store()) is not None and len(list(FOLDER.iterdir())) == 1


def test_opening_a_ledger_loads_nothing_heavy() -> None:
    code = "import sys; from stillhouse.llm.ledger import Ledger; Ledger('none'); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, text=True, check=True)
    assert not {"pandas", "pyarrow", "numpy", "torch", "openai"} & set(done.stdout.split())


DIGESTS = st.integers(0, 7).map(lambda number: bytes([number * 36]) * 32)


@given(st.lists(st.tuples(DIGESTS, st.integers(0, 5), st.integers(0, 3)), max_size=60), st.integers(1, 5))
def test_places_find_what_was_added_in_any_order(rows: list[tuple[bytes, int, int]], fresh: int) -> None:
    """The same as a plain dict of lists, whatever was sorted and merged meanwhile."""
    before, call_places.FRESH = call_places.FRESH, fresh
    try:
        places, plain = Places(), {}
        for offset, (digest, time, file) in enumerate(rows):
            places.add(digest, Spot(time, file, offset, 1))
            plain.setdefault(digest, []).append(Spot(time, file, offset, 1))
            assert sorted_spots(places.find(digest)) == sorted_spots(plain[digest])
        groups = dict(places.groups())
    finally:
        call_places.FRESH = before
    assert list(groups) == sorted(plain)
    assert {digest: sorted_spots(spots) for digest, spots in groups.items()} == {
        digest: sorted_spots(spots) for digest, spots in plain.items()
    }
    assert places.find(b"\xff" * 32) == []


def sorted_spots(spots: list[Spot]) -> list[tuple[int, int, int, int]]:
    return sorted((spot.time, spot.file, spot.offset, spot.length) for spot in spots)
