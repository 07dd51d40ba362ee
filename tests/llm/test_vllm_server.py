"""A server that lives with its job: port, health, log, and an end of all its processes, however the job ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from stillhouse.errors import ServerError
from stillhouse.llm.running import run_async
from stillhouse.llm.vllm_server import HOST, LocalServer

FAKE = Path(__file__).with_name("fake_server.py")
SCRIPTS = Path(__file__).parents[2] / "scripts"

CONSUMER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {scripts!r})
from stillhouse.llm.running import run_async
from stillhouse.llm.vllm_server import LocalServer
server = LocalServer(lambda port: [sys.executable, {fake!r}, str(port)], {{"STUBBORN": "1"}}, Path({log!r}))
print(run_async(server.start()), flush=True)
if {end!r} == "error":
    raise RuntimeError("the job fails")
if {end!r} != "return":
    time.sleep(600)
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., LocalServer]]:
    made: list[LocalServer] = []

    def make(*fault: str, limit_s: float = 60.0) -> LocalServer:
        log = tmp_path / f"{len(made)}.log"
        made.append(LocalServer(lambda port: [sys.executable, str(FAKE), str(port), *fault], {}, log, limit_s))
        return made[-1]

    yield make
    for server in made:
        server.close()


def processes(log: Path) -> list[int]:
    """Numbers of the server's process and of its engine's, which they print."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        words = log.read_text().split()
        if "engine" in words and words[-1].isdigit():
            return [int(words[words.index(kind) + 1]) for kind in ("server", "engine")]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def all_end(numbers: list[int], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while any(map(alive, numbers)) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(map(alive, numbers))


def test_two_servers_at_once_and_their_end(serve: Callable[..., LocalServer], tmp_path: Path) -> None:
    servers = [serve(), serve()]
    urls = [run_async(server.start()) for server in servers]
    numbers = [processes(tmp_path / f"{n}.log") for n in range(2)]
    told = [httpx2.get(f"{url}/health", trust_env=False).json()["pid"] for url in urls]
    assert told == [server for server, _ in numbers]
    assert [server.fault() for server in servers] == [None, None]
    servers[0].close()
    assert all_end(numbers[0], 0.5), "close returns when nothing of the server lives, its engine neither"
    assert all(map(alive, numbers[1]))
    servers[0].close()  # a second time does nothing


def test_a_server_that_does_not_start_is_told_with_the_end_of_its_log(serve: Callable[..., LocalServer]) -> None:
    started = time.monotonic()
    with pytest.raises(ServerError, match=r"ended with status 1; the end of .*0\.log:\n(.*\n)*no such weights"):
        run_async(serve("broken").start())
    assert time.monotonic() - started < 30


def test_a_server_that_never_answers_is_given_up(serve: Callable[..., LocalServer], tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"not ready after 3 s; the end of .*:\nserver \d+"):
        run_async(serve("silent", limit_s=3.0).start())
    assert all_end([int((tmp_path / "0.log").read_text().split()[1])], 0.5)


def test_a_port_that_is_taken_in_between_is_not_the_end(tmp_path: Path) -> None:
    """A program that takes port numbers of its own choice may be quicker; the server then gets another one."""
    ports: list[int] = []
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def command(port: int) -> list[str]:
        if not ports:
            thief.bind((HOST, port))
            thief.listen()
        ports.append(port)
        return [sys.executable, str(FAKE), str(port)]

    server = LocalServer(command, {}, tmp_path / "server.log")
    try:
        url = run_async(server.start())
        assert len(ports) == 2 and url.endswith(str(ports[1]))
        assert httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    finally:
        server.close()
        thief.close()


def test_a_port_is_kept_from_others_before_the_server_listens(serve: Callable[..., LocalServer]) -> None:
    server = serve("silent")
    url = server._launch()
    other = socket.socket()
    with pytest.raises(OSError, match="in use"):
        other.bind((HOST, int(url.rsplit(":", 1)[1])))
    other.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("end", ["return", "error", "SIGTERM", "SIGKILL", "SIGINT"])
def test_the_server_dies_with_its_job(end: str, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    script = CONSUMER.format(scripts=str(SCRIPTS), fake=str(FAKE), log=str(log), end=end)
    job = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
    )
    assert job.stdout.readline().startswith("http://127.0.0.1:"), job.stderr.read()
    numbers = processes(log)
    if end.startswith("SIG"):
        assert all(map(alive, numbers))
        job.send_signal(getattr(signal, end))
    job.communicate(timeout=60)
    assert all_end(numbers), "the server and its engine, which left the server's session and ignores SIGTERM"


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_the_server_dies_with_its_warden(serve: Callable[..., LocalServer], tmp_path: Path) -> None:
    server = serve()
    run_async(server.start())
    number, engine = processes(tmp_path / "0.log")
    try:
        os.kill(server._warden.pid, signal.SIGKILL)
        assert all_end([number])
        assert "ended with status -9" in server.fault()
    finally:
        os.kill(engine, signal.SIGKILL)
