"""The ledger keeps what it said it kept: kills, torn and flipped bytes, several writers, earliest answer first."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import LedgerError
from stillhouse.llm import ledger as ledger_module
from stillhouse.llm.ledger import Bill, Ledger, encode_line
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance.ledger_check import check_ledger
from stillhouse.provenance.ledger_lines import Mark, check_line, decode_answer, decode_line, mark_line

SCRIPTS = Path(__file__).parents[2] / "scripts"
BILL = Bill(0.5, 0.1, 1)

WRITER = """
import sys
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Completion, Request
ledger, start, count = Ledger(sys.argv[1], "w"), int(sys.argv[2]), int(sys.argv[3])
for number in range(start, start + count):
    request = Request({"m": 1}, (("user", str(number)),), {})
    ledger.append(request, "m", Completion("answer " * 300 + str(number), "stop"), Bill(None, 0.0, 1))
    print(request.digest, flush=True)
"""


def request(number: object) -> Request:
    return Request({"m": 1}, (("user", str(number)),), {})


def start(folder: Path, first: int, count: int) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SCRIPTS)})


def filled(folder: Path, count: int = 3) -> Path:
    ledger = Ledger(folder, "w")
    for number in range(count):
        ledger.append(request(number), "m", Completion(f"answer {number}", "stop"), BILL)
    ledger.close()
    return next(folder.glob("*.jsonl"))


def test_what_was_appended_is_read_back_at_once_and_by_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "w")
    assert not list(tmp_path.iterdir())
    completion = Completion('Æ "quoted"\n\u2028line', "length", "thought", 3, 4, "served", ("unclosed_think",))
    ledger.append(request(1), "m", completion, BILL)
    for reader in (ledger, Ledger(tmp_path)):
        call = reader.get(request(1).digest)
        assert (call.text, call.reasoning, call.truncated) == (completion.text, "thought", True)
        assert (call.prompt_tokens, call.completion_tokens, call.usd, call.replayed) == (3, 4, 0.5, True)
        entry = reader.entry(request(1).digest)
        assert (entry["served_model"], entry["tries"], entry["answer"]["flags"]) == ("served", 1, ["unclosed_think"])
        assert reader.get(request(2).digest) is None
        with pytest.raises(KeyError):
            reader.entry(request(2).digest)


def test_half_a_surrogate_pair_does_not_lose_a_paid_call(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "w")
    ledger.append(request("\udfff"), "m", Completion("broken \ud83d", "stop"), BILL)
    assert Ledger(tmp_path).get(request("\udfff").digest).text == "broken \ud83d"
    assert check_ledger(tmp_path).lines == 1 and not check_ledger(tmp_path).faults


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_tail_is_left_out_and_told(tmp_path: Path, cut: int) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    assert len(Ledger(tmp_path)) == 2
    found = check_ledger(tmp_path)
    assert (found.lines, [torn.line for torn in found.torn], found.faults) == (2, [3], [])


def test_no_flipped_byte_ever_yields_another_answer(tmp_path: Path) -> None:
    line = encode_line(request(1), "m", Completion("the answer", "stop"), BILL)
    digest, call = decode_line(line)
    for place in range(len(line)):
        for bit in (1, 32):
            flipped = bytearray(line)
            flipped[place] ^= bit
            for decode in (decode_line, decode_answer):
                try:
                    told, found = decode(bytes(flipped))
                except ValueError:
                    continue
                assert (told, found) == (digest, {key: call[key] for key in found})
                assert found["answer"] == call["answer"]
            for check in (mark_line, check_line):
                try:
                    mark = check(bytes(flipped))
                except ValueError:
                    continue
                assert (mark.digest, mark.at) == (digest, call["at"])


def test_a_changed_line_is_not_trusted(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"answer 1", b"answer 9"))
    ledger = Ledger(tmp_path)
    assert request(1).digest not in ledger
    assert len(ledger) == 2
    assert "checksum differs" in check_ledger(tmp_path).faults[0].reason


def test_a_line_changed_while_it_is_in_use_is_an_error(tmp_path: Path) -> None:
    file = filled(tmp_path)
    ledger = Ledger(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"answer 1", b"answer 9"))
    with pytest.raises(LedgerError, match="checksum differs"):
        ledger.get(request(1).digest)


def test_a_line_under_another_requests_digest_is_not_trusted() -> None:
    line = encode_line(request(1), "m", Completion("x", "stop"), BILL).decode()
    forged = line.replace(request(1).digest, request(2).digest, 1).encode()
    for read in (decode_line, decode_answer, mark_line, check_line):
        with pytest.raises(ValueError, match="digest is not that"):
            read(forged)


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[]\n", b"3\n", b"\xff\n", b'{"digest":1,"sum":2,"call":3}\n'])
def test_other_lines_are_no_entries(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a ledger entry|checksum"):
        decode_line(line)


def test_the_earliest_answer_counts_whatever_the_files_names(tmp_path: Path) -> None:
    for order, names in enumerate((("z", "a"), ("a", "z"))):
        folder = tmp_path / str(order)
        for name, text in zip(names, ("first", "second"), strict=True):
            folder.mkdir(exist_ok=True)
            line = encode_line(request(1), "m", Completion(text, "stop"), BILL)
            (folder / f"{name}.jsonl").write_bytes(line)
            time.sleep(0.002)
        assert Ledger(folder).get(request(1).digest).text == "first"


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [start(tmp_path, first, 60) for first in (0, 40)]
    told = {line.decode().strip() for writer in writers for line in writer.communicate(timeout=60)[0].splitlines()}
    ledger = Ledger(tmp_path)
    assert told == set(ledger)
    assert len(ledger) == 100
    found = check_ledger(tmp_path)
    assert (found.lines, found.calls, found.doubles, found.faults) == (120, 100, 20, [])


def test_a_killed_writer_loses_nothing_that_append_returned_for(tmp_path: Path) -> None:
    told = set()
    for attempt in range(4):
        writer = start(tmp_path, attempt * 100_000, 100_000)
        lines = [writer.stdout.readline() for _ in range(20 + 30 * attempt)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait(timeout=30)
        told |= {line.decode().strip() for line in lines if line.endswith(b"\n")}
    ledger = Ledger(tmp_path)
    assert len(told) > 200
    assert all(digest in ledger for digest in told)


def test_after_half_a_write_the_next_call_begins_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, write = Ledger(tmp_path, "w"), os.write
    ledger.append(request(0), "m", Completion("x", "stop"), BILL)
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:40]))
    with pytest.raises(LedgerError, match="disk full"):
        ledger.append(request(1), "m", Completion("x", "stop"), BILL)
    monkeypatch.setattr(os, "write", write)
    ledger.append(request(2), "m", Completion("y", "stop"), BILL)
    assert ledger.get(request(2).digest).text == "y"
    assert set(Ledger(tmp_path)) == {request(0).digest, request(2).digest}


def test_no_room_on_the_disk_is_told_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    ledger = Ledger(tmp_path, "w")
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(LedgerError, match="No space left"):
        ledger.append(request(1), "m", Completion("x", "stop"), BILL)


def test_lines_are_plain_json_with_all_that_a_call_was(tmp_path: Path) -> None:
    entry = json.loads(filled(tmp_path, 1).read_text())
    assert set(entry["call"]) == {
        "request",
        "answer",
        "usage",
        "usd",
        "latency_s",
        "tries",
        "name",
        "served_model",
        "at",
    }


TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(
    ['","request":{"a":1},"served_model":null', ',"at":"2020-01-01"', '"}}\n', "\\", "\0", "\ud800"]
)
CALLS = st.builds(
    lambda model, content, text, reasoning, name, served: (
        Request({"backend": "x", model: model, "served_model": 1, "at": "x"}, (("user", content),), {model: content}),
        name,
        Completion(text, "stop", reasoning, 1, 2, served),
    ),
    *[TEXTS, TEXTS, TEXTS, st.none() | TEXTS, TEXTS, st.none() | TEXTS],
)


@given(CALLS)
def test_whatever_the_texts_hold_a_line_reads_back(call: tuple[Request, str, Completion]) -> None:
    asked, name, completion = call
    at = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    line = encode_line(asked, name, completion, BILL, at)
    digest, whole = decode_line(line)
    assert (digest, whole["request"]) == (asked.digest, json.loads(json.dumps(asked.payload())))
    told, answer = decode_answer(line)
    assert told == digest and answer == {key: whole[key] for key in whole if key != "request"}
    assert answer["answer"]["text"] == completion.text and answer["name"] == name
    assert check_line(line) == mark_line(line) == Mark(digest, at.isoformat(timespec="microseconds"))


def test_a_line_in_another_spelling_is_read_by_its_values(tmp_path: Path) -> None:
    sampled = Request({"m": 1}, (("user", "x"),), {"temperature": 1e-05})
    line = encode_line(sampled, "m", Completion("text", "stop"), BILL)
    spelt = line.replace(b"1e-05", b"1E-05")
    (tmp_path / "w-1.jsonl").write_bytes(spelt)
    assert spelt != line and Ledger(tmp_path).get(sampled.digest).text == "text"


def test_what_another_job_appends_is_seen_by_one_that_misses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(ledger_module, "LOOK_SHARE", 0)
    mine, other = Ledger(tmp_path, "a"), Ledger(tmp_path, "b")
    mine.append(request(0), "m", Completion("mine", "stop"), BILL)
    for number in (1, 2):
        other.append(request(number), "m", Completion(f"other {number}", "stop"), BILL)
        assert mine.get(request(number).digest).text == f"other {number}"
    mine.append(request(3), "m", Completion("mine again", "stop"), BILL)
    assert mine.get(request(3).digest).text == "mine again"
    assert mine.get(request(9).digest) is None
    assert len(mine) == 4


def test_others_are_not_looked_at_for_every_missing_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 3600.0)
    mine, other = Ledger(tmp_path, "a"), Ledger(tmp_path, "b")
    other.append(request(1), "m", Completion("other", "stop"), BILL)
    assert mine.get(request(1).digest) is None
    assert Ledger(tmp_path).get(request(1).digest).text == "other"


def test_a_file_of_another_job_that_cannot_be_read_stops_no_job_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 0.0)
    ledger = Ledger(tmp_path, "w")
    ledger.append(request(1), "m", Completion("mine", "stop"), BILL)
    (tmp_path / "other.jsonl").symlink_to("other.jsonl")
    assert ledger.get(request(2).digest) is None and "other.jsonl" in caplog.text
    assert ledger.get(request(1).digest).text == "mine"
    ledger.close()


def test_the_earliest_counts_for_the_job_that_appended_the_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 0.0)
    first, second = Ledger(tmp_path, "z"), Ledger(tmp_path, "a")
    first.append(request(1), "m", Completion("first", "stop"), BILL)
    second.append(request(1), "m", Completion("second", "stop"), BILL)
    assert second.get(request(1).digest).text == "second"
    assert second.get(request(2).digest) is None
    assert second.get(request(1).digest).text == "first"


def test_at_equal_times_the_first_file_by_name_counts(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        line = encode_line(request(1), "m", Completion(name, "stop"), BILL, datetime(2026, 1, 1, tzinfo=UTC))
        (tmp_path / f"{name}.jsonl").write_bytes(line)
    assert Ledger(tmp_path).get(request(1).digest).text == "a"
    assert check_ledger(tmp_path).differing == 2
    assert check_ledger(tmp_path).differ == [request(1).digest]


@pytest.mark.parametrize("rest", [b"\0" * 5000, b'{"digest":"ab' + b"\0" * 9, b"half a line", b"\xff\xfe"])
def test_what_a_power_cut_left_at_the_end_is_a_torn_tail(tmp_path: Path, rest: bytes) -> None:
    with open(filled(tmp_path), "ab") as stream:
        stream.write(rest)
    assert len(Ledger(tmp_path)) == 3
    found = check_ledger(tmp_path)
    assert (found.lines, len(found.torn), found.faults) == (3, 1, [])


def test_zero_bytes_behind_a_whole_line_are_a_torn_tail_and_lose_nothing(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes() + b"\0\0\0\n")
    assert len(Ledger(tmp_path)) == 3
    assert [fault.line for fault in check_ledger(tmp_path).faults] == [4]


@pytest.mark.parametrize(
    "junk", [b"\n", b"{}\n", b"\0\0\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"digest":"' + b"z" * 64 + b'"}\n']
)
def test_a_foreign_line_hides_no_other(tmp_path: Path, junk: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file = filled(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([junk, lines[0], junk, *lines[1:], junk]))
    ledger = Ledger(tmp_path)
    assert [ledger.get(request(number).digest).text for number in range(3)] == [f"answer {n}" for n in range(3)]
    assert "3 of its lines left out" in caplog.text
    assert [fault.line for fault in check_ledger(tmp_path).faults] == [1, 3, 6]


def test_foreign_files_and_folders_are_no_ledger(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "notes.txt").write_text("no calls")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert len(Ledger(tmp_path)) == 3


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(LedgerError, match=r"a\.jsonl: a link to nothing"):
        Ledger(tmp_path)


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "a.jsonl")
    with pytest.raises(LedgerError, match=r"a\.jsonl"):
        Ledger(tmp_path)


def test_a_ledger_behind_a_link_is_a_ledger(tmp_path: Path) -> None:
    filled(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ledger = Ledger(tmp_path / "link", "w")
    ledger.append(request(7), "m", Completion("seven", "stop"), BILL)
    ledger.close()
    assert len(ledger) == len(Ledger(tmp_path / "real")) == 4


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("")
    with pytest.raises(LedgerError, match="Not a directory"):
        Ledger(tmp_path / "ledger")


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """A folder that other users reach, and a process without root's rights for as long as it is in use."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may read and write everything, so somebody else looks."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_cannot_be_read_is_an_error(common_folder: Path) -> None:
    filled(common_folder).chmod(0)
    with without_rights(), pytest.raises(LedgerError, match=r"w-\w+\.jsonl: cannot be read \(Permission denied\)"):
        Ledger(common_folder)


def test_a_folder_that_cannot_be_written_is_read(common_folder: Path) -> None:
    filled(common_folder)
    common_folder.chmod(0o555)
    with without_rights():
        ledger = Ledger(common_folder, "w")
        assert ledger.get(request(1).digest).text == "answer 1"
        with pytest.raises(LedgerError, match="Permission denied"):
            ledger.append(request(5), "m", Completion("x", "stop"), BILL)
    common_folder.chmod(0o755)


def test_a_file_cut_while_it_is_in_use_keeps_what_is_left(tmp_path: Path) -> None:
    file = filled(tmp_path)
    ledger = Ledger(tmp_path)
    assert ledger.get(request(2).digest).text == "answer 2"
    with open(file, "rb+") as stream:
        stream.truncate(file.stat().st_size - 10)
    assert ledger.get(request(0).digest).text == "answer 0"
    with pytest.raises(LedgerError, match="torn line"):
        ledger.get(request(2).digest)
    assert ledger.get(request(2).digest) is None
    assert ledger.get(request(1).digest).text == "answer 1"


def test_files_that_were_merged_while_in_use_are_found_again(tmp_path: Path) -> None:
    for number in range(3):
        filled(tmp_path / str(number)).rename(tmp_path / f"w-{number}.jsonl")
    ledger = Ledger(tmp_path)
    lines = [file.read_bytes() for file in sorted(tmp_path.glob("w-*.jsonl"))]
    (tmp_path / "merged-1.jsonl").write_bytes(b"".join(lines))
    for file in tmp_path.glob("w-*.jsonl"):
        file.unlink()
    assert ledger.get(request(1).digest).text == "answer 1"
    assert len(ledger) == 3


def test_many_files_are_read_through_few_descriptors(tmp_path: Path) -> None:
    for number in range(300):
        line = encode_line(request(number), "m", Completion(f"answer {number}", "stop"), BILL)
        (tmp_path / f"w-{number}.jsonl").write_bytes(line)
    before = len(os.listdir("/proc/self/fd"))
    ledger = Ledger(tmp_path)
    for again in range(2):
        for number in range(300):
            assert ledger.get(request(number).digest).text == f"answer {number}", again
    assert len(os.listdir("/proc/self/fd")) <= before + 256
    ledger = None
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
