"""Programs that mean harm: each is stopped, and this machine stays as it was."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stillhouse.evaluation import sandbox
from stillhouse.evaluation.sandbox import Outcome, run_python, run_trusted

LAUNCHER = sandbox.LAUNCHER
SYSTEM_PYTHON = Path("/usr/bin/python3")
SOMEBODY = 12345  # a user id with no rights

NO_UNSHARE = """
import ctypes, errno, sys
sys.path.insert(0, {folder!r})
import sandbox_launch

class Refusing:
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        return getattr(self.real, name)
    def unshare(self, flags):
        ctypes.set_errno(errno.EPERM)
        return -1

sandbox_launch._libc = Refusing(sandbox_launch._libc)
sandbox_launch.main()
"""
ORDINARY = """
import json
from stillhouse.evaluation.sandbox import run_python
told = [run_python("x = 1", test, 5) for test in ("assert x == 1", "assert x == 2", "import os; os.setuid(0)")]
told.append(run_python("open('/etc/passwd')", "", 5))
print(json.dumps([[one.finished, one.cannot] for one in told]))
"""


def run(answer: str, tests: str = "", seconds: float = 3) -> Outcome:
    outcome = run_python(answer, tests, seconds)
    if outcome.cannot is not None and "cannot shut it in" in outcome.cannot:
        pytest.skip(outcome.cannot)
    return outcome


def refused(answer: str, tests: str = "", seconds: float = 3) -> Outcome:
    outcome = run(answer, tests, seconds)
    assert outcome.cannot is None
    assert not outcome.finished
    return outcome


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of wall time for one of CPU time."""
    monkeypatch.setattr(sandbox, "WALL_TIMES", 2)
    monkeypatch.setattr(sandbox, "WALL_MORE_S", 0.0)


def test_a_program_comes_to_its_end() -> None:
    assert run("import json, math, re", "assert json.loads('[1]') == [1]").finished
    assert run("open('note', 'w').write('x')", "assert open('note').read() == 'x'").finished
    assert run("x = 1", f"#{'z' * 300_000}\nassert x").finished  # more than a pipe holds


def test_tests_that_fail_are_no_pass() -> None:
    assert "AssertionError: no" in refused("x = 1", "assert x == 2, 'no'").output
    refused("x = '''", "'''")  # an open string does not swallow the tests


def test_dataclasses_and_pickles_find_their_module() -> None:
    answer = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int"
    assert run(answer, "import pickle\nassert pickle.loads(pickle.dumps(A(1))) == A(1)").finished


def test_no_environment_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-planted")
    found = refused("import os, sys\nprint(dict(os.environ), sys.argv)\nraise SystemExit(3)")
    assert "sk-planted" not in found.output and "PYTHONHASHSEED" in found.output
    for reader in ("open('/proc/1/environ').read()", "open(f'/proc/{os.getppid()}/environ').read()"):
        assert "sk-planted" not in refused(f"import os\nprint({reader})\nraise SystemExit(3)").output


def test_no_file_outside_is_read_written_or_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("secret")
    os.chmod(tmp_path, 0o777)
    os.chmod(kept, 0o666)
    for deed in ("print(open({!r}).read())", "open({!r}, 'a').write('x')", "import os; os.remove({!r})"):
        assert "secret" not in refused(deed.format(str(kept))).output.replace(str(kept), "")
    refused(f"import shutil\nshutil.rmtree({str(tmp_path)!r})")
    run(f"import shutil\nshutil.rmtree({str(tmp_path)!r}, ignore_errors=True)")
    run("import shutil\nshutil.rmtree('/', ignore_errors=True)")
    assert kept.read_text() == "secret"
    for path in ("/etc/passwd", os.path.expanduser("~/.ssh"), str(LAUNCHER)):
        refused(f"import os\nos.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r})\n1/0")


def test_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        refused(f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)")
        with pytest.raises(TimeoutError):
            server.accept()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        refused(f"import socket\nsocket.socket(2, 2).sendto(b'x', {server.getsockname()!r})\n1/0")
        with pytest.raises(TimeoutError):
            server.recv(1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        os.chmod(tmp_path, 0o777)
        os.chmod(tmp_path / "s", 0o777)
        assert (
            "FileNotFoundError" in refused(f"import socket\nsocket.socket(1).connect({str(tmp_path / 's')!r})").output
        )


@pytest.mark.parametrize("source", ["while True: pass", "try:\n while 1: pass\nexcept BaseException:\n while 1: pass"])
def test_a_loop_ends_at_its_cpu_time(source: str) -> None:
    started = time.monotonic()
    assert refused(source, seconds=0.5).fault == "stopped after 1 s of CPU time"
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("hurry")
def test_a_sleeper_fails_and_a_program_that_waits_for_the_processor_has_no_outcome() -> None:
    slept = refused("import time\ntime.sleep(60)", seconds=1)
    assert slept.fault == "slept: it used less than 10% of its 1 s of CPU time"
    spend = "import time\nwhile time.process_time() < 0.4: pass\n"
    outcome = run(f"{spend}time.sleep(60)", seconds=1)
    assert (outcome.finished, outcome.fault, outcome.cannot) == (False, None, "not finished in 2 s of wall time")


@pytest.mark.usefixtures("hurry")
def test_the_cpu_time_of_all_that_it_started_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "WALL_TIMES", 3)
    work = "import os, time\nfor _ in range(3):\n  if not os.fork():\n    while time.process_time() < 0.6: pass\n    break\n"
    assert refused(f"{work}time.sleep(60)", seconds=1).fault == "stopped after 1 s of CPU time"


def test_time_on_the_wall_alone_stops_nobody() -> None:
    assert run("import time\ntime.sleep(1.5)", seconds=1).finished


def test_a_report_that_never_comes_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "WALL_TIMES", 1)
    monkeypatch.setattr(sandbox, "WALL_MORE_S", -1.0)
    monkeypatch.setattr(sandbox, "START_S", 0.0)
    outcome = run_python("1", "", 1)
    assert (outcome.finished, outcome.cannot) == (False, "not finished in 0 s of wall time")
    assert run_trusted("1", "", 1, []).cannot == "not finished in 0 s of wall time"


def test_memory_output_and_files_are_bounded() -> None:
    assert "MemoryError" in refused("x = bytearray(10 << 30)").output
    assert "MiB of output" in refused("line = 'x' * 65536\nfor _ in range(16384): print(line)").fault
    assert refused("with open('big', 'wb') as f:\n  for _ in range(64): f.write(bytes(1 << 20))").output


def test_nothing_that_it_started_lives_on() -> None:
    bomb = "import os\nwhile True: os.fork()"
    assert "Resource temporarily unavailable" in refused(bomb).output
    mark = f"stillhouse-{os.getpid()}"
    daemon = (
        "import os, sys, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n"
        f"    os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)', {mark!r}])\n  os._exit(0)\n"
        "time.sleep(0.3)"
    )
    assert run(daemon).finished
    alive = [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(p)]
    assert alive == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit", "input()"])
def test_leaving_early_is_no_pass(source: str) -> None:
    assert refused(source).fault is None
    call = "\n ".join(source.split("\n"))
    assert refused(f"def f():\n {call}", "f()\nassert False").fault is None


@pytest.mark.parametrize(
    "deed",
    [
        "os.write(up, b'r')",  # as if its own code had come to its end
        "os.write(up, b'r' * 99999)",
        "os.write(up, b'r' + b'0' * 32)",
        "os.close(up)",
        'for handle in range(3, 64):\n with suppress(OSError): os.write(handle, b\'{"started": 1, "done": 1}\')',
        "os.kill(1, 9)",
    ],
)
def test_a_pass_is_not_forged_without_the_nonce(deed: str) -> None:
    answer = f"import os, sys\nfrom contextlib import suppress\nup = int(sys.argv[2])\n{deed}\nos._exit(0)"
    assert refused(answer, "assert False").fault is None


def test_tests_and_nonce_are_not_there_before_the_answers_code_ended() -> None:
    answer = """
import os, select, sys
print("sent", select.select([int(sys.argv[1])], [], [], 0.5)[0])
frame, values = sys._getframe(), []
while frame:
    values += [*frame.f_globals.values(), *frame.f_locals.values()]
    frame = frame.f_back
print("secrets", [value for value in values if isinstance(value, str | bytes) and len(value) >= 32])
print(sorted(os.listdir(".")))
1 / 0
"""
    lines = refused(answer, f"x = {'planted' * 9!r}").output.splitlines()
    assert lines[:3] == ["sent []", "secrets []", "['answer.py', 'runner.py']"]


def test_it_reaches_neither_the_pipe_nor_the_memory_of_what_reports() -> None:
    fds = "import os, sys\nfor fd in range(64):\n  try: os.fstat(fd); print(fd)\n  except OSError: pass\n"
    told = refused(f"{fds}print('ends', *sys.argv[1:])\n1/0").output.split("\nends ")
    ends = told[1].split("\n")[0].split()
    assert told[0].split() == [*"012", *sorted(ends, key=int)]
    trace = "import ctypes, os\nprint('parent', os.getppid(), ctypes.CDLL(None).ptrace(16, 1, 0, 0))\n1/0"
    assert "parent 1 -1" in refused(trace).output


def test_rights_are_gone() -> None:
    assert refused("import os\nprint(0 in {*os.getresuid(), *os.getresgid()})\n1/0").output.startswith("False")
    refused("import os\nos.setuid(0)")
    assert run("import os, signal\ntry:\n  os.kill(-1, signal.SIGKILL)\nexcept OSError:\n  pass").cannot is None


def test_what_stands_below_main_does_not_run() -> None:
    assert run("if __name__ == '__main__':\n    1 / 0").finished


def test_where_unshare_is_refused_it_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = tmp_path / "launcher.py"
    launcher.write_text(NO_UNSHARE.format(folder=str(LAUNCHER.parent)))
    monkeypatch.setattr(sandbox, "LAUNCHER", launcher)
    outcome = run_python(f"open({str(tmp_path / 'proof')!r}, 'w')", "", 5)
    assert outcome.cannot.startswith("not run, since this machine cannot shut it in: ")
    assert "unshare: Operation not permitted" in outcome.cannot
    assert not outcome.finished and not (tmp_path / "proof").exists()


def test_where_python_does_not_start_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MEMORY", 1 << 20)
    outcome = run("1")
    assert (outcome.finished, outcome.fault) == (False, None)
    assert outcome.cannot.startswith("not run, since Python does not start when shut in")


@pytest.mark.skipif(os.geteuid() != 0 or not SYSTEM_PYTHON.exists(), reason="takes root, and a Python for everybody")
def test_an_ordinary_user_has_it_too() -> None:
    told = subprocess.run(
        [SYSTEM_PYTHON, "-B", "-c", ORDINARY],
        env={"PYTHONPATH": str(LAUNCHER.parents[2])},
        cwd="/",
        capture_output=True,
        user=SOMEBODY,
        group=SOMEBODY,
        extra_groups=[],
    )
    if told.returncode:
        pytest.skip(f"this Python or these files are not for everybody: {told.stderr.decode()[-200:]}")
    found: list[Any] = json.loads(told.stdout)
    if found[0][1] and "unshare" in found[0][1]:
        pytest.skip(found[0][1])
    assert found == [[True, None], [False, None], [False, None], [False, None]]


def test_a_users_umask_changes_nothing() -> None:
    before = os.umask(0o077)
    try:
        assert run("open('note', 'w').write('x')").finished
    finally:
        os.umask(before)


def test_the_same_program_says_the_same() -> None:
    said = {run("print(list({str(n) for n in range(50)}))\n1/0").output for _ in range(3)}
    assert len(said) == 1


def test_a_trusted_program_gets_its_data_and_is_bounded() -> None:
    outcome = run_trusted("os.write(int(sys.argv[1]), open('data.json', 'rb').read())", "[1]", 5, sys.path)
    assert (outcome.finished, outcome.result) == (True, b"[1]")
    assert not run_trusted("while True: pass", "", 1, []).finished
