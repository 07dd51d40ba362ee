"""Calls are found by digest through an index that is built once, kept up to date, and never believed."""

import os
import shutil
from pathlib import Path

import pytest

from stillhouse.errors import LedgerError
from stillhouse.llm.ledger import Bill, Ledger, encode_line
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance import ledger_index
from stillhouse.provenance.calls import CallIndex
from stillhouse.provenance.ledger_lines import check_line, decode_line, is_torn

BILL = Bill(None, 0.5, 1)


def request(number: int) -> Request:
    return Request({"m": 1}, (("user", f"question {number}"),), {"temperature": 1e-05})


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is kept of small ledgers, too."""
    monkeypatch.setattr(ledger_index, "KEPT_FROM", 1)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files of which lines are scanned."""
    names: list[str] = []
    scan = ledger_index.lines_from
    monkeypatch.setattr(ledger_index, "lines_from", lambda file, start: names.append(file.name) or scan(file, start))
    return names


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of two jobs, ten calls each."""
    monkeypatch.chdir(tmp_path)
    for job in range(2):
        ledger = Ledger("results/ledger", f"answer_shard-g-{job}")
        for number in range(10 * job, 10 * job + 10):
            ledger.append(request(number), "m", Completion(f"answer {number}", "stop", None, 3, 4), BILL)
        ledger.close()
    shutil.rmtree(tmp_path / ".stillhouse")
    return tmp_path


def index_of(house: Path) -> CallIndex:
    return CallIndex(house / "results/ledger", house)


def size(index: CallIndex) -> int:
    """How many calls it knows."""
    return sum(len(index.matching(digit, 100)) for digit in "0123456789abcdef")


def files(house: Path) -> list[Path]:
    return sorted((house / "results/ledger").glob("*.jsonl"))


def test_every_call_is_found_by_its_digest_and_by_a_beginning_of_it(house: Path) -> None:
    index = index_of(house)
    assert size(index) == 20
    for number in range(20):
        digest = request(number).digest
        found = index.get(digest)
        assert found.call["answer"]["text"] == f"answer {number}"
        assert found.file.name.startswith(f"answer_shard-g-{number // 10}-")
        for length in (12, 13, 64):
            assert index.matching(digest[:length].upper()) == [digest]
    assert index.matching("", 5) == index.matching("xyz") == index.matching("0" * 65) == []
    assert len({digest[0] for digest in index.matching(request(0).digest[0])}) == 1
    assert index.get("0" * 64) is None and index.get("no digest") is None


def test_the_index_is_built_once_and_follows_the_ledger(house: Path, scanned: list[str]) -> None:
    index_of(house)
    assert sorted(scanned) == [file.name for file in files(house)]
    scanned.clear()
    assert size(index_of(house)) == 20 and scanned == []
    with open(files(house)[0], "ab") as stream:
        stream.write(encode_line(request(30), "m", Completion("late", "stop"), BILL))
    assert index_of(house).get(request(30).digest).call["answer"]["text"] == "late"
    assert set(scanned) == {files(house)[0].name}
    files(house)[1].unlink()
    assert size(index_of(house)) == 11


def test_the_earliest_of_two_answers_counts(house: Path) -> None:
    lines = files(house)[0].read_bytes().splitlines(keepends=True)
    later = encode_line(request(0), "m", Completion("later", "stop"), BILL)
    files(house)[0].write_bytes(b"".join([later, *lines]))
    assert index_of(house).get(request(0).digest).call["answer"]["text"] == "answer 0"
    assert Ledger(house / "results/ledger").get(request(0).digest).text == "answer 0"


def test_a_line_is_checked_when_it_is_read(house: Path) -> None:
    index_of(house)
    file = files(house)[0]
    status, sound = file.stat(), file.read_bytes()
    file.write_bytes(sound.replace(b"answer 3", b"answer 8"))
    set_mtime(file, status.st_mtime_ns)
    with pytest.raises(LedgerError, match=f"{request(3).digest}.*checksum differs"):
        index_of(house).get(request(3).digest)
    assert index_of(house).get(request(4).digest).call["answer"]["text"] == "answer 4"


def test_an_index_that_points_elsewhere_is_built_again(house: Path) -> None:
    index_of(house)
    file = files(house)[0]
    status, lines = file.stat(), file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(reversed(lines)))
    set_mtime(file, status.st_mtime_ns)
    assert index_of(house).get(request(0).digest).call["answer"]["text"] == "answer 0"


def set_mtime(file: Path, mtime: int) -> None:
    os.utime(file, ns=(mtime, mtime))


def test_where_no_index_can_be_kept_calls_are_found_all_the_same(house: Path) -> None:
    (house / ".stillhouse").write_text("a file in the way")
    assert len(Ledger("results/ledger")) == 20
    assert index_of(house).get(request(5).digest).call["answer"]["text"] == "answer 5"


def test_torn_and_foreign_lines_are_left_out(house: Path) -> None:
    with open(files(house)[1], "ab") as stream:
        stream.write(b'not json\n{"digest":"zz"}\n{"digest":"' + b"z" * 64 + b'","sum":""}\n{"digest":"ab')
    assert size(index_of(house)) == 20


def test_an_empty_ledger_has_no_calls(tmp_path: Path) -> None:
    (tmp_path / "results/ledger").mkdir(parents=True)
    assert size(index_of(tmp_path)) == 0


def test_lines_of_the_ledger_are_checked_to_the_byte(house: Path) -> None:
    for file in files(house):
        for line in file.read_bytes().splitlines(keepends=True):
            assert decode_line(line)[0] == check_line(line).digest
            for damaged in (line[:-1], line[:50], line.replace(b"answer", b"unswer"), b"[]\n", b'{"digest":1}\n'):
                with pytest.raises(ValueError, match=r"torn line|not a ledger entry|checksum differs"):
                    decode_line(damaged)


def test_another_spelling_of_a_value_is_no_line_of_the_ledger(house: Path) -> None:
    line = files(house)[0].read_bytes().splitlines(keepends=True)[0]
    spelled = line.replace(b"1e-05", b"1E-05")
    assert spelled != line and decode_line(spelled)
    with pytest.raises(ValueError, match="the bytes are not those"):
        check_line(spelled)


def test_a_torn_line_is_a_beginning_and_nothing_else(house: Path) -> None:
    line = files(house)[0].read_bytes().splitlines(keepends=True)[0]
    assert all(is_torn(line[:end]) for end in range(1, len(line)))
    assert not is_torn(line)
    assert not any(is_torn(line[:-1] + bytes([byte])) for byte in b"\x0b\x08x}0")
