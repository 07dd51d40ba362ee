"""Answers from a file, matched by the text of the prompt; a missing answer is an error."""

import json
from pathlib import Path
from typing import Any

from stillhouse.errors import CallError, InputError
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Completion, Request


class RecordedBackend:
    """One JSON a line, `{"prompt", "response"}`; the last user message of a request is looked up."""

    grammars = False
    concurrency = 64

    def __init__(self, file: Path, identity: dict[str, Any]) -> None:
        self.identity = identity
        self._file = file
        self._answers = dict(_read(file))

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """The recorded answer; raises `CallError` naming the file when there is none."""
        prompt = next(content for role, content in reversed(request.messages) if role == "user")
        recorded = self._answers.get(prompt.strip())
        if recorded is None:
            raise CallError(f"{self._file}: no recorded answer to the prompt {prompt[:80]!r}")
        split = split_reasoning(recorded)
        return Completion(split.answer, "stop", split.reasoning, flags=split.flags), 1

    def close(self) -> None:
        """Nothing to free."""


def _read(file: Path) -> list[tuple[str, str]]:
    answers = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answers.append((row["prompt"].strip(), row["response"] + ""))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f'{file} line {number}: expected {{"prompt", "response"}}') from error
    return answers
