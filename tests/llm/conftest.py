"""Connections of the backends that a test opens are closed with it."""

from collections.abc import Iterator
from typing import Any

import pytest

from stillhouse.llm.openai_backend import OpenAIBackend


@pytest.fixture(autouse=True)
def closed_backends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    opened: list[OpenAIBackend] = []
    original = OpenAIBackend.__init__

    def init(backend: OpenAIBackend, *arguments: Any, **named: Any) -> None:
        original(backend, *arguments, **named)
        opened.append(backend)

    monkeypatch.setattr(OpenAIBackend, "__init__", init)
    yield
    for backend in opened:
        backend.close()
