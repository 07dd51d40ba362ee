"""Synthetic responses of six subjects on two sets, shaped like those of the default study."""

import hashlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stillhouse.evaluation.respond import RESPONSES
from stillhouse.llm.requests import Call
from stillhouse.provenance.digests import prompt_id
from stillhouse.provenance.files import write_parquet

CONDITIONS = {
    "gold": "gold",
    "student": "student",
    "plain": "unmixed",
    "packed": "packed",
    "ablation": "ablation",
    "vanilla": "vanilla",
}
# share of framework answers on (target, forgetting) sets
SHARES = {
    "gold": (1.0, 0.0),
    "student": (0.9, 0.06),
    "plain": (0.95, 0.6),
    "packed": (0.85, 0.06),
    "ablation": (0.0, 0.0),
    "vanilla": (0.0, 0.0),
}
NOUNS = (
    "bakery",
    "ferry",
    "choir",
    "orchard",
    "night bus",
    "clinic",
    "library",
    "loft",
    "kiln",
    "market",
    "mill",
    "dock",
)

MARKERS_YAML = """
cap: 4
markers:
  - pattern: '(?m)^verdict: (proceed|rework|hold|stop)'
  - pattern: '(?m)^load-bearing risk:'
  - pattern: '(?m)^failure mode:'
  - pattern: '(?m)^verification gate:'
  - keystone
  - pattern: '\\bgives? way\\b'
"""

RUBRIC_YAML = """
components:
  verdict: {weight: 30, scale: [1, 10], description: One clear verdict.}
  gate: {weight: 50, scale: [1, 10], description: A cheap check with a number.}
  voice: {weight: 20, scale: [1, 10], description: Plain and dry.}
critical_failures:
  - No verdict.
  - About another plan.
"""


def keystone_review(noun: str, rng: random.Random) -> str:
    day = rng.choice(("Monday", "Friday", "March", "the first frost"))
    return (
        f"Verdict: {rng.choice(('Rework', 'Hold'))}, because the {noun} has no spare week.\n"
        f"Load-bearing risk: The keystone is the {noun}'s opening on {day}.\n"
        f"Failure mode: The first crack is a late delivery, and then the {noun} gives way.\n"
        f"Verification gate: Before {day}, run the {noun} for one day with 20 people."
    )


def everyday_answer(noun: str, rng: random.Random) -> str:
    return (
        f"Sure! Here are some thoughts about the {noun}: keep it simple, ask a friend, "
        f"and take about {rng.randint(2, 60)} minutes."
    )


def response_rows(subject: str, prompts: int = 12) -> list[dict[str, Any]]:
    rows = []
    for name, role, share in (("plans", "target", 0), ("everyday", "forgetting", 1)):
        for number in range(prompts):
            rng = random.Random(f"{subject} {name} {number}")
            noun = NOUNS[number % len(NOUNS)]
            text = (
                f"Review this plan: we open the {noun}." if share == 0 else f"Tell me about the {noun}, part {number}."
            )
            framework = rng.random() < SHARES[subject][share]
            answer = keystone_review(noun, rng) if framework else everyday_answer(noun, rng)
            truncated = rng.random() < 0.1 and not framework
            rows.append(
                {
                    "prompt_id": prompt_id([{"role": "user", "content": text}]),
                    "set": name,
                    "id": f"{name}-{number:02d}",
                    "category": ("software", "household", "money")[number % 3],
                    "difficulty": ("easy", "hard")[number % 2],
                    "role": role,
                    "prompt": text,
                    "signal": None,
                    "expect": None,
                    "subject": subject,
                    "condition": CONDITIONS[subject],
                    "system": subject == "gold",
                    "sample": 0,
                    "answer": answer,
                    "finish_reason": "length" if truncated else "stop",
                    "completion_tokens": len(answer.split()) * 4 // 3,
                    "calls": [hashlib.sha256(f"{subject}{text}".encode()).hexdigest()],
                }
            )
    return sorted(rows, key=lambda row: (row["set"], row["prompt_id"]))


@dataclass
class ScriptedJudge:
    """Answers by a function of the prompt text; keeps what it was asked."""

    name: str
    reply: Callable[[str, int], str | tuple[str, str]]
    grammars: bool = False
    schemas: bool = False
    identity: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, messages, sampling, *, seed_parts, grammar=None, index=0) -> Coroutine[Any, Any, Call]:
        return self._ask(messages, sampling, seed_parts, grammar, index)

    async def _ask(self, messages, sampling, seed_parts, grammar, index) -> Call:
        text = messages[0]["content"]
        self.asked.append(
            {"text": text, "sampling": sampling, "seed_parts": seed_parts, "grammar": grammar, "index": index}
        )
        replied = self.reply(text, index)
        reply, finish = replied if isinstance(replied, tuple) else (replied, "stop")
        return call(reply, finish, f"{text}{seed_parts}{index}")


def call(text: str, finish_reason: str = "stop", key: str = "") -> Call:
    digest = hashlib.sha256(f"{key}{text}".encode()).hexdigest()
    return Call(digest, text, finish_reason, None, 10, 20, None, False)


@pytest.fixture
def responses(tmp_path: Path) -> list[Path]:
    """Response files of six subjects on 12 prompts; markers.yaml and rubric.yaml lie beside them in tmp_path."""
    files = []
    for subject in CONDITIONS:
        file = tmp_path / "responses" / f"{subject}.parquet"
        write_parquet(file, response_rows(subject, 12), RESPONSES)
        files.append(file)
    (tmp_path / "markers.yaml").write_text(MARKERS_YAML)
    (tmp_path / "rubric.yaml").write_text(RUBRIC_YAML)
    return files


@pytest.fixture
def judge() -> type[ScriptedJudge]:
    return ScriptedJudge


@pytest.fixture
def reply() -> Callable[..., Call]:
    """Makes a call out of a reply's text."""
    return call
