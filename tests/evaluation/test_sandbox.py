"""Programs that mean harm: each is stopped, and this machine stays as it was."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from stillhouse.evaluation import sandbox
from stillhouse.evaluation.sandbox import Outcome, run_python

PLAIN = sandbox.LAUNCHER
SYSTEM_PYTHON = "/usr/bin/python3"

SECOND_BEST = """
import sys
sys.path.insert(0, {folder!r})
import sandbox_launch

def refused():
    raise OSError(1, "no namespaces here")

sandbox_launch._unshare = refused
if {older}:
    real = sandbox_launch._libc
    class Old:
        prctl = real.prctl
        def syscall(self, *_):
            return -1
    sandbox_launch._libc = Old()
sandbox_launch.main()
"""


@pytest.fixture(params=["namespaces", "landlock"])
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to shut a program in, where this machine has them."""
    if request.param == "landlock":
        pretend(tmp_path, monkeypatch, older=False)
        if os.geteuid() == 0 and Path(SYSTEM_PYTHON).exists():  # root's own Python may lie where nobody reaches it
            monkeypatch.setattr(sys, "executable", SYSTEM_PYTHON)
    outcome = run_python("print(1)", 5)
    if outcome.cannot is not None or outcome.isolation != request.param:
        pytest.skip(f"no {request.param} on this machine: {outcome.cannot}")
    return request.param


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, *, older: bool) -> None:
    """A kernel without namespaces, and an older one without Landlock either."""
    launcher = folder / "launcher.py"
    launcher.write_text(SECOND_BEST.format(folder=str(PLAIN.parent), older=older))
    monkeypatch.setattr(sandbox, "LAUNCHER", launcher)


def refused(source: str, seconds: float = 3) -> Outcome:
    outcome = run_python(source, seconds)
    assert outcome.cannot is None
    assert not outcome.finished
    return outcome


@pytest.mark.usefixtures("way")
def test_a_program_comes_to_its_end() -> None:
    assert run_python("import json, math, re\nassert json.loads('[1]') == [1]", 5).finished
    assert run_python("open('note', 'w').write('x')\nassert open('note').read() == 'x'", 5).finished


@pytest.mark.usefixtures("way")
def test_no_environment_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-planted")
    found = refused("import os, sys\nprint(dict(os.environ), sys.argv)\nraise SystemExit(3)")
    assert "sk-planted" not in found.output and "PYTHONHASHSEED" in found.output
    for reader in ("open('/proc/1/environ').read()", "open(f'/proc/{os.getppid()}/environ').read()"):
        assert "sk-planted" not in refused(f"import os\nprint({reader})\nraise SystemExit(3)").output


@pytest.mark.usefixtures("way")
def test_no_file_outside_is_read_written_or_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("secret")
    os.chmod(tmp_path, 0o777)
    os.chmod(kept, 0o666)
    for deed in ("print(open({!r}).read())", "open({!r}, 'a').write('x')", "import os; os.remove({!r})"):
        assert "secret" not in refused(deed.format(str(kept))).output.replace(str(kept), "")
    refused(f"import shutil\nshutil.rmtree({str(tmp_path)!r})")
    run_python(f"import shutil\nshutil.rmtree({str(tmp_path)!r}, ignore_errors=True)", 3)
    run_python("import shutil\nshutil.rmtree('/', ignore_errors=True)", 3)
    assert kept.read_text() == "secret"
    for path in ("/etc/passwd", os.path.expanduser("~/.ssh"), str(PLAIN)):
        refused(f"import os\nos.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r})\n1/0")


@pytest.mark.usefixtures("way")
def test_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        refused(f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "try:\n while True: pass\nexcept BaseException:\n while True: pass",
    ],
)
def test_a_loop_ends_at_its_time(source: str) -> None:
    started = time.monotonic()
    assert refused(source, 0.5).fault == "stopped after 0.5 s"
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("way")
def test_memory_output_and_files_are_bounded() -> None:
    assert "MemoryError" in refused("x = bytearray(10 << 30)").output
    assert "MiB of output" in refused("line = 'x' * 65536\nfor _ in range(16384): print(line)").fault
    assert refused("with open('big', 'wb') as f:\n  for _ in range(64): f.write(bytes(1 << 20))").output


def test_nothing_that_it_started_lives_on(way: str) -> None:
    bomb = "import os\nwhile True: os.fork()"
    assert "Resource temporarily unavailable" in refused(bomb).output
    mark = f"stillhouse-{os.getpid()}-{way}"
    daemon = (
        "import os, sys, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n"
        f"    os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)', {mark!r}])\n  os._exit(0)\n"
        "time.sleep(0.3)"
    )
    run_python(daemon, 5)
    alive = [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(p)]
    assert alive == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit", "input()"])
def test_leaving_early_is_no_pass(source: str) -> None:
    assert refused(source).fault is None


@pytest.mark.usefixtures("way")
def test_rights_are_gone() -> None:
    assert (
        "0"
        not in refused("import os\nprint('uids', *{*os.getresuid(), *os.getresgid()} & {0})\n1/0").output.split("\n")[0]
    )
    refused("import os\nos.setuid(0)")
    assert (
        run_python("import os, signal\ntry:\n  os.kill(-1, signal.SIGKILL)\nexcept OSError:\n  pass", 3).cannot is None
    )


@pytest.mark.usefixtures("way")
def test_what_stands_below_main_does_not_run() -> None:
    assert run_python("if __name__ == '__main__':\n    1 / 0", 5).finished


def test_where_nothing_shuts_it_in_it_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, older=True)
    outcome = run_python(f"open({str(tmp_path / 'proof')!r}, 'w')", 5)
    assert "no namespaces here" in outcome.cannot
    assert not outcome.finished and not (tmp_path / "proof").exists()


def test_the_same_program_says_the_same(tmp_path: Path) -> None:
    said = {run_python("print(list({str(n) for n in range(50)}))\n1/0", 5).output for _ in range(3)}
    assert len(said) == 1
