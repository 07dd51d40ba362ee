"""Compiling: numba's `njit` for the kernels of this package, kept on disk between runs."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

SOURCES = (
    "hashing.py",
    "greedy.py",
    "compiled_texts.py",
    "compiled_runs.py",
    "compiled_leaks.py",
    "compiled_turns.py",
    "text.py",
)
"""Files out of which kernels take code and constants."""


def _state() -> str:
    """A digest of all sources together."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()[:12]


_STATE = _state()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use, without Python's lock.

    numba keeps compiled code until the file of the function changes; it does not see a change to what the function
    takes from another file. So the code is kept under a name that tells the state of all `SOURCES`.
    """
    function.__qualname__ = f"{function.__qualname__}_{_STATE}"
    return njit(nogil=True, cache=True)(function)
