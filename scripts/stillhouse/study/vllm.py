"""The environment in which vLLM runs: where it is, the version that it holds, and whether it was made (`make vllm`)."""

import os
import re
from pathlib import Path

PYTHON = "STILLHOUSE_VLLM_PYTHON"
"""Environment variable that names the interpreter of another environment; operational."""

WORKFLOW = Path(__file__).resolve().parents[3]
PIN = re.compile(r"^vllm(?:-cpu)?==([0-9][\w.]*)", re.MULTILINE)


def vllm_python() -> Path:
    """The Python that runs vLLM: what the variable names, else the one of .venv-vllm in the workflow's folder."""
    named = os.environ.get(PYTHON, "").strip()
    return Path(named) if named else WORKFLOW / ".venv-vllm" / "bin" / "python"


def vllm_version() -> str:
    """The version that envs/requirements-vllm.txt pins; a part of the recipe of what vLLM serves."""
    return PIN.search((WORKFLOW / "envs" / "requirements-vllm.txt").read_text(encoding="utf-8"))[1]


def environment_fault() -> str | None:
    """What is missing before vLLM can run, and what to do; None when nothing is."""
    python = vllm_python()
    if python.is_file():
        return None
    if os.environ.get(PYTHON, "").strip():
        return f"there is no {python}, which the variable {PYTHON} names"
    return (
        f"vLLM has an environment of its own, which is not there yet: run `make vllm` in the workflow's folder, "
        f"or set {PYTHON} to the Python of another one"
    )
