"""The ledger keeps what it said it kept: kills, torn and flipped bytes, several writers, earliest answer first."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillhouse.errors import LedgerError
from stillhouse.llm.ledger import Bill, Ledger, encode_line, verify_ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance.ledger_lines import decode_line

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
    assert verify_ledger(tmp_path) == (1, [])


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_tail_is_left_out_and_told(tmp_path: Path, cut: int) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    assert len(Ledger(tmp_path)) == 2
    sound, faults = verify_ledger(tmp_path)
    assert (sound, [fault.line for fault in faults]) == (2, [3])
    assert "torn" in faults[0].reason


def test_no_flipped_byte_ever_yields_another_answer(tmp_path: Path) -> None:
    line = encode_line(request(1), "m", Completion("the answer", "stop"), BILL)
    digest, call = decode_line(line)
    for place in range(len(line)):
        for bit in (1, 32):
            flipped = bytearray(line)
            flipped[place] ^= bit
            try:
                found = decode_line(bytes(flipped))
            except ValueError:
                continue
            assert found == (digest, call)


def test_a_changed_line_is_not_trusted(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"answer 1", b"answer 9"))
    ledger = Ledger(tmp_path)
    assert request(1).digest not in ledger
    assert len(ledger) == 2
    assert "checksum differs" in verify_ledger(tmp_path)[1][0].reason


def test_a_line_changed_while_it_is_in_use_is_an_error(tmp_path: Path) -> None:
    file = filled(tmp_path)
    ledger = Ledger(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"answer 1", b"answer 9"))
    with pytest.raises(LedgerError, match="checksum differs"):
        ledger.get(request(1).digest)


def test_a_line_under_another_requests_digest_is_not_trusted() -> None:
    line = encode_line(request(1), "m", Completion("x", "stop"), BILL).decode()
    forged = line.replace(request(1).digest, request(2).digest, 1).encode()
    with pytest.raises(ValueError, match="digest is not that"):
        decode_line(forged)


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
    assert verify_ledger(tmp_path) == (120, [])


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
