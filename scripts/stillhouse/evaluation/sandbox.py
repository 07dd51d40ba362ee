"""Runs a Python program that nobody trusts, in a process of its own that can do no harm.

It gets no environment, no network and no files but Python's own (by Linux namespaces, else by Landlock); it has
bounds on time, memory, processes, files and output, and is killed with everything that it started. Where a machine
offers neither way, the program is not run.
"""

import contextlib
import json
import math
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stillhouse.evaluation import sandbox_launch

MEMORY = 512 << 20  # bytes of address space of each process
DISK = 16 << 20  # bytes of all files in the box
PROCESSES = 16
OPEN_FILES = 64
LAUNCHER = Path(sandbox_launch.__file__).resolve()
OUTPUT = 1 << 20  # bytes that a program may print
KEPT = 1 << 16  # of them, the last that are kept
START_S = 5.0  # for starting Python, beyond the program's own time
LIBRARIES = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache")

# The token comes by standard input and goes back by a pipe when the program came to its end: a program that leaves
# early, by sys.exit(0) say, has not passed. Named `answer`, it does not run what stands below `__main__`.
_RUNNER = """
import os, runpy, sys
os.write(int(sys.argv[1]), sys.argv[2].encode() + b"\\n")
token = os.read(0, 64)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
runpy.run_path("program.py", run_name="answer")
os.write(int(sys.argv[1]), token)
os._exit(0)
"""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    `finished` says that it ran to its end without an error, `fault` what stopped it from outside (time, output), None
    when nothing did. `cannot` says why it could not be run at all, None when it was; `isolation` how it was shut in
    (namespaces, landlock, limits alone). `output` is the end of what it printed, `result` what it wrote to its pipe.
    """

    finished: bool
    fault: str | None
    cannot: str | None
    isolation: str
    output: str
    result: bytes


def run_python(source: str, seconds: float) -> Outcome:
    """Run the program `source`, at most for `seconds`."""
    token = secrets.token_hex(16).encode()
    outcome = _run({"program.py": source, "runner.py": _RUNNER}, "runner.py", seconds, token, isolate=True)
    finished = outcome.result == token and outcome.fault is None
    return Outcome(finished, outcome.fault, outcome.cannot, outcome.isolation, outcome.output, outcome.result)


def run_trusted(source: str, data: str, seconds: float, paths: list[str]) -> Outcome:
    """Run a program of our own on `data` under the same bounds: it ends, whatever the data does to it.

    The program reads data.json in its folder, finds modules on `paths`, and writes to the descriptor `sys.argv[1]`.
    """
    header = f"import os, sys\nos.write(int(sys.argv[1]), sys.argv[2].encode() + b'\\n')\nsys.path.extend({paths!r})\n"
    return _run({"runner.py": header + source, "data.json": data}, "runner.py", seconds, b"", isolate=False)


def _run(files: dict[str, str], program: str, seconds: float, token: bytes, *, isolate: bool) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="stillhouse-", ignore_cleanup_errors=True) as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8", errors="replace")
        read, write = os.pipe()
        try:
            process = _start(folder, files, program, seconds, write, isolate)
        finally:
            os.close(write)
        with process, open(read, "rb", buffering=0) as results:
            process.stdin.write(token)
            process.stdin.close()
            try:
                output, result, fault = _collect(process, results, seconds)
            finally:
                _kill(process)
    state, _, rest = result.partition(b"\n")
    how = state.decode(errors="replace") or "cannot: it did not start"
    cannot = how.removeprefix("cannot: ") if how.startswith("cannot") else None
    clean = process.returncode == 0 and fault is None and cannot is None
    return Outcome(clean, fault, cannot, how, output[-KEPT:].decode(errors="replace"), rest)


def _start(
    folder: str, files: dict[str, str], program: str, seconds: float, result: int, isolate: bool
) -> subprocess.Popen[bytes]:
    python = os.path.realpath(sys.executable)
    readable = [path for path in (*LIBRARIES, sys.base_prefix, os.path.dirname(python)) if os.path.lexists(path)]
    spec = {
        "folder": folder,
        "files": sorted(files),
        "python": python,
        "program": program,
        "readable": sorted({os.path.normpath(path) for path in readable}),
        "result": result,
        "isolate": isolate,
        "cpu": math.ceil(seconds) + 1,
        "memory": MEMORY,
        "disk": DISK,
        "processes": PROCESSES,
        "open_files": OPEN_FILES,
    }
    return subprocess.Popen(
        [python, "-I", "-S", "-B", str(LAUNCHER), json.dumps(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={},
        pass_fds=[result],
        start_new_session=True,
    )


def _collect(process: subprocess.Popen[bytes], results: object, seconds: float) -> tuple[bytes, bytes, str | None]:
    """What the program prints and what it writes to its pipe, until it ends or passes a bound."""
    texts = {"output": b"", "result": b""}
    printed, deadline = 0, None
    latest = time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "output")
        selector.register(results, selectors.EVENT_READ, "result")
        while selector.get_map():
            now = time.monotonic()
            if deadline is None and texts["result"]:  # its own time runs from when it is shut in
                deadline = latest = now + seconds
            if now >= latest:
                return texts["output"], texts["result"], f"stopped after {seconds:g} s" if deadline else "slow to start"
            for key, _ in selector.select(latest - now):
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                texts[key.data] = (texts[key.data] + chunk)[-OUTPUT:]
                printed += len(chunk)
            if printed > OUTPUT:
                return texts["output"], texts["result"], f"stopped after {OUTPUT >> 20} MiB of output"
    return texts["output"], texts["result"], None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything in its session; in namespaces that takes what left the session along."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
