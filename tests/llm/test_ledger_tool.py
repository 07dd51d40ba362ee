"""`scripts/ledger.py`: lists, shows, checks, compacts and exports, and loses no call at any kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas
import pytest

from stillhouse.errors import LedgerError
from stillhouse.llm.ledger import Bill, Ledger, encode_line
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance import ledger_compact
from stillhouse.provenance.ledger_check import check_ledger
from stillhouse.provenance.ledger_compact import Compactor

SCRIPTS = Path(__file__).parents[2] / "scripts"
TOOL = [sys.executable, str(SCRIPTS / "ledger.py")]
START = datetime(2026, 3, 1, tzinfo=UTC)


def request(number: object) -> Request:
    messages = (("system", "You review [red]plans[/red].\nBe brief."), ("user", f"question {number}"))
    return Request({"backend": "openai", "model": "big/one"}, messages, {"temperature": 0.5, "seed": 1})


def line(number: object, text: str = "", *, hours: float = 0, name: str = "teacher", usd: float | None = 0.25) -> bytes:
    completion = Completion(text or f"answer {number}", "stop", "thinking", 100, 20, "big-one-v2", ("unclosed_think",))
    return encode_line(request(number), name, completion, Bill(usd, 1.5, 2), START + timedelta(hours=hours))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Two runs of one shard and one of another, five calls each; the local model's have no price."""
    folder = tmp_path / "results/ledger"
    folder.mkdir(parents=True)
    for place, name in enumerate(("answer_shard-g-0-aaaa", "answer_shard-g-0-bbbb", "judge_rubric-e-cccc")):
        local = {"name": "local", "usd": None} if place == 2 else {}
        lines = [line(5 * place + n, hours=5 * place + n, **local) for n in range(5)]
        (folder / f"{name}.jsonl").write_bytes(b"".join(lines))
    return folder


def run(folder: Path, *words: str, status: int = 0) -> str:
    done = subprocess.run([*TOOL, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def everything(folder: Path) -> dict[str, str]:
    """Digest -> answer of all calls."""
    ledger = Ledger(folder)
    return {digest: ledger.get(digest).text for digest in ledger}


def test_list_adds_up_by_model_and_an_unknown_price_is_not_zero(ledger: Path, tmp_path: Path) -> None:
    told = json.loads(run(tmp_path, "list", "--json"))
    assert told["doubles"] is None
    local, teacher = told["models"]
    assert local == {
        "model": "local",
        "calls": 5,
        "prompt_tokens": 500,
        "completion_tokens": 100,
        "usd": None,
        "calls_without_price": 5,
        "first": "2026-03-01T10:00:00.000000+00:00",
        "last": "2026-03-01T14:00:00.000000+00:00",
        "served": ["big-one-v2"],
    }
    assert (teacher["model"], teacher["calls"], teacher["usd"]) == ("teacher", 10, 2.5)
    shown = run(tmp_path, "list").splitlines()
    assert [row.split()[:5] for row in shown[1:3]] == [
        ["local", "5", "500", "100", "unknown"],
        ["teacher", "10", "1,000", "200", "2.5000"],
    ]
    assert shown[3].startswith("15 calls to 2 models")


def test_a_price_that_is_known_in_part_says_so(ledger: Path, tmp_path: Path) -> None:
    (ledger / "x-dddd.jsonl").write_bytes(line(90, usd=None))
    assert "2.5000 + 1 unknown" in run(tmp_path, "list", "--model", "teacher")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--model", "local"], 5),
        (["--model", "*"], 15),
        (["--model", "nobody"], 0),
        (["--writer", "judge_rubric"], 5),
        (["--writer", "answer_shard-g-0"], 10),
        (["--writer", "answer"], 0),
        (["--writer", "*-g-*"], 10),
        (["--since", "2026-03-01T12:00"], 3),
        (["--since", "2026-03-01T14:00:00+02:00"], 3),
        (["--since", "2026-03-02", "--model", "local"], 0),
        (["--since", "2026-02-28"], 15),
    ],
)
def test_filters(ledger: Path, tmp_path: Path, filters: list[str], count: int) -> None:
    told = [json.loads(text) for text in run(tmp_path, "list", "--calls", "--json", *filters).splitlines()]
    assert len({one["digest"] for one in told}) == len(told) == count


def test_what_was_paid_twice_is_told_apart(ledger: Path, tmp_path: Path) -> None:
    (ledger / "answer_shard-g-9-eeee.jsonl").write_bytes(line(3, "later", hours=99))
    told = json.loads(run(tmp_path, "list", "--json"))
    assert (told["models"][1]["calls"], told["doubles"]["calls"], told["doubles"]["usd"]) == (10, 1, 0.25)
    assert "1 line more answer a request once again (0.2500 USD)" in run(tmp_path, "list")
    assert len(run(tmp_path, "list", "--calls").splitlines()) == 15


def test_show_prints_the_whole_call(ledger: Path, tmp_path: Path) -> None:
    text = "first\n[bold]not bold[/bold] \x1b[31mnot red " + "long " * 300
    (ledger / "x-dddd.jsonl").write_bytes(line("shown", text, hours=50))
    shown = run(tmp_path, "show", request("shown").digest[:20].upper())
    lines = shown.splitlines()
    for wanted in (
        request("shown").digest,
        "--- system",
        "You review [red]plans[/red].",
        "Be brief.",
        "question shown",
    ):
        assert wanted in lines
    assert "[bold]not bold[/bold] \ufffd[31mnot red " in shown and "\x1b" not in shown
    assert text[-60:].rstrip() in shown and lines[lines.index("--- reasoning") + 1] == "thinking"
    assert "USD       0.250000" in lines and "flags     unclosed_think" in lines
    known = json.loads(run(tmp_path, "show", request("shown").digest, "--json"))
    assert known["answer"]["text"] == text and known["request"] == request("shown").payload()


def test_a_prefix_that_several_calls_have_lists_them(ledger: Path, tmp_path: Path) -> None:
    starts = [request(number).digest[0] for number in range(15)]
    twice = next(digit for digit in starts if starts.count(digit) > 1)
    shown = run(tmp_path, "show", twice, status=1).splitlines()
    assert len([row for row in shown if row.startswith(twice)]) == starts.count(twice)
    assert f"no call in results/ledger begins with '{'0' * 64}'" in run(tmp_path, "show", "0" * 64, status=1)
    assert "no call" in run(tmp_path, "show", "xyz", status=1)


def test_verify_finds_a_sound_ledger_sound(ledger: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "verify").splitlines() == ["sound: 15 sound lines for 15 calls in 3 files"]


def test_verify_forgives_torn_tails_and_doubles_and_names_damage(ledger: Path, tmp_path: Path) -> None:
    (ledger / "x-dddd.jsonl").write_bytes(line(3, "later", hours=99) + line(4, hours=99) + line(70)[:80])
    shown = run(tmp_path, "verify")
    assert "x-dddd.jsonl line 3: cut off by a kill" in shown
    assert "2 lines answer a request once again, 1 of them differently" in shown
    assert f"{request(3).digest[:12]} has answers that differ" in shown and request(4).digest[:12] not in shown
    file = ledger / "judge_rubric-e-cccc.jsonl"
    file.write_bytes(file.read_bytes().replace(b"answer 11", b"answer 99"))
    other = line(80).replace(request(80).digest.encode(), request(81).digest.encode())
    (ledger / "y-ffff.jsonl").write_bytes(other + b"not a call\n")
    found = json.loads(run(tmp_path, "verify", "--json", status=1))
    assert [(fault["file"], fault["line"]) for fault in found["faults"]] == [
        (file.name, 2),
        ("y-ffff.jsonl", 1),
        ("y-ffff.jsonl", 2),
    ]
    reasons = ("checksum differs", "digest is not that of the request", "not a ledger entry")
    assert all(part in fault["reason"] for part, fault in zip(reasons, found["faults"], strict=True))
    assert "3 faults" in run(tmp_path, "verify", status=1)


def test_compact_keeps_every_call_and_the_earliest_answer(ledger: Path, tmp_path: Path) -> None:
    before = everything(ledger)
    (ledger / "answer_shard-g-0-0000.jsonl").write_bytes(line(3, "later", hours=99) + b"no call\n" + line(70)[:80])
    (ledger / "z-0000.jsonl").write_bytes(line(4, "later", hours=99))
    files = {file.name: file.read_bytes() for file in ledger.iterdir()}
    dry = run(tmp_path, "compact", "--dry-run")
    assert "would drop 2 later answers, 1 torn lines, 1 damaged lines" in dry
    assert "would keep 15 calls, 5 files to 2" in dry
    assert files == {file.name: file.read_bytes() for file in ledger.iterdir()}
    done = run(tmp_path, "compact")
    assert "kept 15 calls, 5 files to 2" in done and "the damaged lines are in damaged-" in done
    assert everything(ledger) == before
    left = sorted(file.name.rsplit("-", 1)[0] for file in ledger.glob("*.jsonl"))
    assert left == ["answer_shard-g-0", "judge_rubric-e"]
    assert next(ledger.glob("damaged-*.txt")).read_bytes() == b"no call\n"
    assert (ledger / "judge_rubric-e-cccc.jsonl").read_bytes() == files["judge_rubric-e-cccc.jsonl"]
    calls = [json.loads(text) for text in next(ledger.glob("answer*")).read_bytes().splitlines()]
    assert [call["call"]["at"] for call in calls] == sorted(call["call"]["at"] for call in calls)
    assert "nothing to do: 15 calls in 2 files" in run(tmp_path, "compact")
    assert run(tmp_path, "verify").startswith("sound")


def test_compacting_twice_or_in_another_order_gives_the_same_file(ledger: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for place, file in enumerate(sorted(ledger.iterdir(), reverse=True)):
        (copy / f"{file.name.rsplit('-', 1)[0]}-{place}.jsonl").write_bytes(file.read_bytes())
    for folder in (ledger, copy):
        Compactor(folder).run(dry=False)
    first, second = (sorted(folder.glob("answer*")) for folder in (ledger, copy))
    assert [(file.name, file.read_bytes()) for file in first] == [(file.name, file.read_bytes()) for file in second]


def test_a_line_in_another_spelling_is_kept_as_it_is(ledger: Path, tmp_path: Path) -> None:
    spelt = line("spelt", hours=70).replace(b'"latency_s":1.5', b'"latency_s":1.50')
    (ledger / "answer_shard-g-0-0000.jsonl").write_bytes(spelt)
    before = everything(ledger)
    run(tmp_path, "compact")
    assert everything(ledger) == before and request("spelt").digest in before
    assert spelt in next(ledger.glob("answer*")).read_bytes()


def test_a_foreign_file_stays(ledger: Path, tmp_path: Path) -> None:
    (ledger / "prompts.jsonl").write_text('{"prompt": "mine"}\n')
    assert "kept 15 calls, 4 files to 3" in run(tmp_path, "compact")
    assert (ledger / "prompts.jsonl").read_text() == '{"prompt": "mine"}\n' and not list(ledger.glob("damaged*"))
    assert "nothing to do" in run(tmp_path, "compact")


def test_an_empty_file_goes_and_an_empty_ledger_is_left(ledger: Path, tmp_path: Path) -> None:
    (ledger / "w-1.jsonl").write_bytes(b"")
    run(tmp_path, "compact")
    assert not (ledger / "w-1.jsonl").exists() and len(everything(ledger)) == 15
    empty = tmp_path / "none"
    empty.mkdir()
    assert "nothing to do: 0 calls in 0 files" in run(tmp_path, "compact", "--ledger", "none")


WRITER = """
import sys
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Completion, Request
ledger = Ledger("results/ledger", "live")
ledger.append(Request({"m": 1}, (("user", "live"),), {}), "m", Completion("live", "stop"), Bill(None, 0.0, 1))
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def live_job(ledger: Path, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A job that has made one call and goes on."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    job = subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, env=environment, **pipes)
    assert job.stdout.readline() == b"ready\n"
    yield job
    job.kill()
    job.communicate(timeout=30)


def test_compact_refuses_while_a_job_writes(ledger: Path, tmp_path: Path, live_job: subprocess.Popen) -> None:
    before = sorted(ledger.iterdir())
    assert "a job is writing to" in run(tmp_path, "compact", status=1)
    assert sorted(ledger.iterdir()) == before
    live_job.kill()
    live_job.wait(timeout=30)
    run(tmp_path, "compact")
    assert len(everything(ledger)) == 16


def test_compact_refuses_while_snakemake_holds_its_lock(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").write_text("x")
    before = sorted(ledger.iterdir())
    assert "nothing was compacted" in run(tmp_path, "compact", status=1)
    assert sorted(ledger.iterdir()) == before


def test_a_file_that_grows_meanwhile_stays(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = ledger / "answer_shard-g-0-bbbb.jsonl"
    compactor = Compactor(ledger)
    with open(late, "ab") as stream:
        stream.write(line(60))
    with pytest.raises(LedgerError, match="has grown meanwhile and stays"):
        compactor.run(dry=False)
    assert len(everything(ledger)) == 16 and late.exists()


KILLED = """
import os, sys
from pathlib import Path
from stillhouse.provenance import files
from stillhouse.provenance.ledger_compact import Compactor
left = int(sys.argv[1])

def audit(event, arguments):
    global left
    changes = event in ("os.rename", "os.remove") or (event == "open" and isinstance(arguments[1], str) and "w" in arguments[1])
    if changes and "ledger" in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

compactor = Compactor(Path("results/ledger"))
sys.addaudithook(audit)
compactor.run(dry=False)
"""


@pytest.mark.slow
def test_a_kill_before_any_change_of_a_compaction_loses_nothing(ledger: Path, tmp_path: Path) -> None:
    """The process kills itself before its first change to the folder, its second, and so on until one run ends."""
    (ledger / "answer_shard-g-1-0000.jsonl").write_bytes(line(3, "later", hours=99) + b"junk\n" + line(50, hours=50))
    (ledger / "answer_shard-g-1-1111.jsonl").write_bytes(line(51, hours=51) + line(70)[:80])
    before = everything(ledger)
    files = {file.name: file.read_bytes() for file in ledger.iterdir()}
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    kills = 0
    while True:
        for file in ledger.iterdir():
            file.unlink()
        for name, content in files.items():
            (ledger / name).write_bytes(content)
        command = [sys.executable, "-c", KILLED, str(kills)]
        status = subprocess.run(command, cwd=tmp_path, env=environment).returncode
        assert everything(ledger) == before
        if status == 0:
            break
        assert status == -signal.SIGKILL
        run(tmp_path, "compact")
        assert everything(ledger) == before
        assert len(list(ledger.glob("*.jsonl"))) == 3
        kills += 1
    assert kills >= 8


def test_a_line_changed_between_looking_and_writing_removes_no_file(ledger: Path) -> None:
    compactor = Compactor(ledger)
    file = ledger / "answer_shard-g-0-bbbb.jsonl"
    file.write_bytes(file.read_bytes().replace(b"answer 7", b"answer x"))
    before = sorted(ledger.iterdir())
    with pytest.raises(LedgerError, match="was changed meanwhile; no file was removed"):
        compactor.run(dry=False)
    assert sorted(ledger.iterdir()) == before


def test_a_full_disk_removes_no_file(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(ledger.iterdir())
    monkeypatch.setattr(ledger_compact, "atomic_path", refuse)
    with pytest.raises(LedgerError, match="No space left on device; no file was removed"):
        Compactor(ledger).run(dry=False)
    assert sorted(ledger.iterdir()) == before


def test_parquet_loads_by_pandas(ledger: Path, tmp_path: Path) -> None:
    (ledger / "x-dddd.jsonl").write_bytes(line("odd", "half \ud83d", hours=60) + line(3, "later", hours=99))
    assert "16 calls written" in run(tmp_path, "export", "calls.parquet")
    table = pandas.read_parquet(tmp_path / "calls.parquet")
    assert len(table) == 16 and table["digest"].is_unique
    row = table[table["digest"] == request(3).digest].iloc[0]
    assert row["at"] == pandas.Timestamp("2026-03-01T03:00:00Z")
    assert [dict(message) for message in row["messages"]] == request(3).payload()["messages"]
    assert json.loads(row["request"]) == request(3).payload()
    assert (row["answer"], row["reasoning"], list(row["flags"])) == ("answer 3", "thinking", ["unclosed_think"])
    assert (row["prompt_tokens"], row["completion_tokens"], row["usd"], row["tries"]) == (100, 20, 0.25, 2)
    assert (row["model"], row["served_model"], row["writer"]) == ("teacher", "big-one-v2", "answer_shard-g-0")
    assert table[table["model"] == "local"]["usd"].isna().all()
    assert table[table["digest"] == request("odd").digest].iloc[0]["answer"] == "half ?"


def test_json_lines_hold_the_same(ledger: Path, tmp_path: Path) -> None:
    (ledger / "x-dddd.jsonl").write_bytes(line("odd", "half \ud83d", hours=60))
    run(tmp_path, "export", "calls.jsonl", "--since", "2026-03-01T14:00")
    rows = [json.loads(text) for text in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["answer 14", "half \ud83d"]
    assert set(rows[0]) == set(pandas_columns(tmp_path))


def pandas_columns(folder: Path) -> list[str]:
    run(folder, "export", "all.parquet")
    return list(pandas.read_parquet(folder / "all.parquet").columns)


def test_a_failed_export_leaves_no_file(ledger: Path, tmp_path: Path) -> None:
    assert "must end in .parquet or .jsonl" in run(tmp_path, "export", "calls.csv", status=1)
    (tmp_path / "there").write_text("")
    assert "LedgerError" in run(tmp_path, "export", "there/calls.parquet", status=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results", "there"]


def test_the_ledger_is_that_of_the_study_or_the_folder_that_is_named(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/w-1.jsonl").write_bytes(line(1))
    (tmp_path / "study.yaml").write_text("study: x\nledger: shared\n")
    (tmp_path / "bad.yaml").write_text("[1, 2")
    for words, calls in (
        (["--ledger", "shared"], 1),
        (["--configfile", "study.yaml"], 1),
        (["--directory", str(tmp_path)], 15),
        ([], 15),
    ):
        assert f"for {calls} call" in run(tmp_path, "verify", *words)
    assert "LedgerError: bad.yaml" in run(tmp_path, "verify", "--configfile", "bad.yaml", status=1)
    for command in (["list"], ["show", "ab"], ["verify"], ["compact"], ["export", "x.jsonl"]):
        assert "there is no ledger at nowhere" in run(tmp_path, *command, "--ledger", "nowhere", status=1)
    assert check_ledger(ledger).lines == 15


def test_a_reader_who_has_seen_enough_ends_it_silently(ledger: Path, tmp_path: Path) -> None:
    (ledger / "x-dddd.jsonl").write_bytes(b"".join(line(f"n{n}", "word " * 50) for n in range(3000)))
    job = subprocess.Popen([*TOOL, "list", "--calls"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert job.stdout.readline()
    job.stdout.close()
    assert job.stderr.read() == b""
    job.stderr.close()
    assert job.wait(timeout=60) == 0
