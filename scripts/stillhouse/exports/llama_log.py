"""What llama.cpp says, kept instead of printed."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp
from llama_cpp import _logger as bindings_log


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """Collect llama.cpp's lines, which are many for every model, while the block runs."""
    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def collect(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
        lines.append(text.decode("utf-8", "replace"))

    llama_cpp.llama_log_set(collect, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(bindings_log.llama_log_callback, ctypes.c_void_p(0))
