"""Runs a Python program that nobody trusts, in a process of its own that can do no harm.

It gets no environment, no network and no files but Python's own, by Linux namespaces; it has bounds on CPU time,
memory, processes, files and output, and is killed with everything that it started. Where a machine offers no
namespaces, the program is not run.
"""

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.evaluation import sandbox_launch

MEMORY = 512 << 20  # bytes of address space of each process
DISK = 16 << 20  # bytes of all files in the box
PROCESSES = 16
OPEN_FILES = 64
LAUNCHER = Path(sandbox_launch.__file__).resolve()
OUTPUT = 1 << 20  # bytes that a program may print
KEPT = 1 << 16  # of them, the last that are kept
WALL_TIMES, WALL_MORE_S = 10, 10.0  # wall time for each second of CPU time, and on top: a busy machine is no fault
START_S = 30.0  # for entering the namespaces, beyond the wall time
SPENT, ASLEEP = 0.9, 0.1  # shares of the CPU time: from the one it counts as used up, below the other as slept through
LIBRARIES = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache")

# Named `answer`, the answer does not run what stands below `__main__`. Tests and nonce come when its own code has come
# to its end, and the nonce goes back when theirs has: leaving early, by sys.exit(0) say, is no pass.
_RUNNER = f"""
import json, os, sys, types
down, up = int(sys.argv[1]), int(sys.argv[2])
os.write(up, {sandbox_launch.STARTED!r})
module = sys.modules["answer"] = types.ModuleType("answer")
module.__file__ = "answer.py"
with open("answer.py", "rb") as stream:
    answer = compile(stream.read(), "answer.py", "exec")
exec(answer, module.__dict__)
os.write(up, {sandbox_launch.RETURNED!r})
with open(down, "rb") as stream:
    tests, nonce = json.load(stream)
exec(compile(tests, "tests.py", "exec"), module.__dict__)
os.write(up, nonce.encode())
os._exit(0)
"""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    `finished` says that it ran to its end without an error, `fault` what stopped it from outside (CPU time, sleep,
    output), None when nothing did. `cannot` says why nothing is known of it (it was not run, or the machine was too
    busy for it), None otherwise. `output` is the end of what it printed, `result` what a trusted one wrote to its pipe.
    """

    finished: bool
    fault: str | None
    cannot: str | None
    output: str
    result: bytes = b""


def run_python(answer: str, tests: str, seconds: float) -> Outcome:
    """Run the program `answer`, then `tests` with its names, for `seconds` of CPU time at most, rounded up to whole ones.

    Wall time is bounded generously: when it is over, a program that used a tenth of its CPU time at least has no
    outcome, since the machine may have been too busy; one that used less slept.

    That tests passed is told by a process that runs no line of the answer, and until the answer's own code has come
    to its end neither the tests nor what proves their end are in its process. After that they are: answer and tests
    share a process, so an answer written against this very runner can still pass for one that is right. It is proof
    against answers that end early or fail, not against forgers.
    """
    files = {"answer.py": answer, "tests.py": tests, "runner.py": _RUNNER}
    cpu = math.ceil(seconds)
    output, result, fault, _ = _run(files, cpu, held="tests.py")
    return _outcome(output, result, fault, cpu)


def run_trusted(source: str, data: str, seconds: float, paths: list[str]) -> Outcome:
    """Run a program of our own on `data` under the same bounds: it ends, whatever the data does to it.

    The program reads data.json in its folder, finds modules on `paths`, and writes to the descriptor `sys.argv[1]`.
    """
    files = {"runner.py": f"import os, sys\nsys.path.extend({paths!r})\n{source}", "data.json": data}
    cpu = math.ceil(seconds)
    output, result, fault, status = _run(files, cpu, held=None)
    cannot = _too_slow(cpu) if result is None else None
    return Outcome(status == 0 and not fault, fault, cannot, _told(output), result or b"")


def wall_time(cpu: int) -> float:
    """Seconds of wall time that a program with `cpu` seconds of CPU time has."""
    return WALL_TIMES * cpu + WALL_MORE_S


def _too_slow(cpu: int) -> str:
    return f"not finished in {wall_time(cpu):g} s of wall time"


def _told(output: bytes) -> str:
    return output[-KEPT:].decode(errors="replace")


def _outcome(output: bytes, result: bytes | None, fault: str | None, cpu: int) -> Outcome:
    """What the launcher's report comes to."""
    if fault is not None:
        return Outcome(False, fault, None, _told(output))
    report = {"cannot": "no report"} if result == b"" else {} if result is None else json.loads(result)
    fault, cannot = _judged(report, output, cpu)
    return Outcome(bool(report.get("done")) and fault is None, fault, cannot, _told(output))


def _judged(report: dict[str, Any], output: bytes, cpu: int) -> tuple[str | None, str | None]:
    """What stopped a program, and why nothing is known of it."""
    if not report:
        return None, _too_slow(cpu)
    if "cannot" in report:
        return None, f"not run, since this machine cannot shut it in: {report['cannot']}"
    if not report["started"]:
        return None, f"not run, since Python does not start when shut in: {_told(output).strip()}"
    if report["signal"] == signal.SIGXCPU or (report["signal"] and report["cpu"] >= SPENT * cpu):
        return f"stopped after {cpu} s of CPU time", None
    if not report["late"]:
        return None, None
    if report["cpu"] < ASLEEP * cpu:
        return f"slept: it used less than {ASLEEP:.0%} of its {cpu} s of CPU time", None
    return None, _too_slow(cpu)


def _run(files: dict[str, str], cpu: int, held: str | None) -> tuple[bytes, bytes | None, str | None, int]:
    """What runner.py printed, what came by the pipe (None: not all in time), what it did too much of, exit status.

    With `held`, a file that it does not see, it is shut in.
    """
    with tempfile.TemporaryDirectory(prefix="stillhouse-", ignore_cleanup_errors=True) as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8", errors="replace")
        read, write = os.pipe()
        try:
            process = _start(_spec(folder, files, cpu, held, write))
        finally:
            os.close(write)
        with process, open(read, "rb", buffering=0) as results:
            try:
                output, result, fault = _collect(process, results, wall_time(cpu) + START_S)
            finally:
                _kill(process)
    return output, result, fault, process.returncode


def _spec(folder: str, files: dict[str, str], cpu: int, held: str | None, result: int) -> dict[str, Any]:
    python = os.path.realpath(sys.executable)
    readable = [path for path in (*LIBRARIES, sys.base_prefix, os.path.dirname(python)) if os.path.lexists(path)]
    return {
        "folder": folder,
        "files": sorted(files),
        "held": held,
        "isolate": held is not None,
        "python": python,
        "program": "runner.py",
        "readable": sorted({os.path.normpath(path) for path in readable}),
        "result": result,
        "cpu": cpu,
        "wall": wall_time(cpu),
        "memory": MEMORY,
        "disk": DISK,
        "processes": PROCESSES,
        "open_files": OPEN_FILES,
    }


def _start(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [spec["python"], "-I", "-S", "-B", str(LAUNCHER), json.dumps(spec)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=spec["folder"],
        env={},
        pass_fds=[spec["result"]],
        start_new_session=True,
    )


def _collect(
    process: subprocess.Popen[bytes], results: object, seconds: float
) -> tuple[bytes, bytes | None, str | None]:
    """What the program prints and what comes by the pipe, until it ends or passes a bound."""
    texts = {"output": b"", "result": b""}
    printed, latest = 0, time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "output")
        selector.register(results, selectors.EVENT_READ, "result")
        while selector.get_map():
            left = latest - time.monotonic()
            if left <= 0:
                return texts["output"], None, None
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                texts[key.data] = (texts[key.data] + chunk)[-OUTPUT:]
                printed += len(chunk) if key.data == "output" else 0
            if printed > OUTPUT:
                return texts["output"], texts["result"], f"stopped after {OUTPUT >> 20} MiB of output"
    return texts["output"], texts["result"], None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything in its session; in namespaces that takes what left the session along."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
