"""Answer files as the generations stage writes them, and the rows that the library makes of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stillhouse.datasets.rows import Prompt
from stillhouse.provenance.digests import canonical_json, prompt_id
from stillhouse.provenance.files import write_parquet

TEXT = pa.string()
PROMPTS_SCHEMA = pa.schema([(name, TEXT) for name in ["prompt_id", "set", "id", "category", "difficulty", "prompt"]]
                           + [("messages", TEXT), ("metadata", TEXT)])  # fmt: skip
ANSWERS_SCHEMA = pa.schema(
    [
        *list(PROMPTS_SCHEMA),
        *[(name, TEXT) for name in ("generation", "method", "model", "answer", "reasoning", "draft")],
        *[("truncated", pa.bool_()), ("converged", pa.bool_()), ("rounds", pa.int32())],
        *[("winners", pa.list_(TEXT)), ("transcript", TEXT), ("calls", pa.list_(TEXT)), ("answer_call", TEXT)],
        *[("sample", pa.int32()), ("tools", TEXT), ("context", TEXT)],
    ]
)
NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
]


def prompt_row(text: str, set_name: str = "plans", row_id: str | None = None, **other: Any) -> dict[str, Any]:
    messages = other.pop("messages", [{"role": "user", "content": text}])
    identity = prompt_id(messages)
    return {
        "prompt_id": identity, "set": set_name, "id": row_id or f"id-{identity}", "category": "audit",
        "difficulty": None, "prompt": text, "messages": canonical_json(messages), "metadata": "{}", **other,
    }  # fmt: skip


def answer_row(text: str, answer: str = "A sound answer.", rounds: list[dict] | None = None, **other: Any) -> dict:
    row = prompt_row(text, **{key: other.pop(key) for key in ("set_name", "row_id", "messages") if key in other})
    calls = [f"{row['prompt_id']}-call"]
    return {
        **row, "generation": "plans", "method": "tournament" if rounds else "single", "answer": answer,
        "reasoning": None, "draft": answer, "truncated": False, "converged": True if rounds else None,
        "rounds": len(rounds or []), "winners": [one["winner"] for one in rounds or []],
        "transcript": canonical_json({"rounds": rounds or []}), "calls": calls, "answer_call": calls[0],
        "sample": 0, "tools": None, "context": None, **other,
    }  # fmt: skip


def round_of(number: int, winner: str, borda: dict[str, int], **candidates: str) -> dict[str, Any]:
    texts = {name: candidates.get(name, f"Text {name} of round {number}.") for name in ("A", "B", "AB")}
    return {
        "round": number, "critique": "Weak.", "no_flaws": False, "candidates": texts, "votes": [], "borda": borda,
        "winner": winner, "note": None,
    }  # fmt: skip


def write_answers(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_parquet(path, rows, ANSWERS_SCHEMA)
    return path


def write_prompts(path: Path, texts: list[str], set_name: str = "held") -> Path:
    write_parquet(path, [prompt_row(text, set_name, f"h{n}") for n, text in enumerate(texts)], PROMPTS_SCHEMA)
    return path


@dataclass(frozen=True)
class Row:
    """A row of answers with its prompt."""

    source: int
    generation: str
    prompt: Prompt
    data: dict[str, Any]


def make_row(text: str, answer: str = "An answer.", source: int = 0, **other: Any) -> Row:
    data = answer_row(text, answer, **other)
    messages = tuple((one["role"], one["content"]) for one in json.loads(data["messages"]))
    return Row(source, f"g{source}", Prompt(data["prompt_id"], data["set"], data["id"], messages), data)


def distinct_prompt(number: int, topic: str = "bridge") -> str:
    """Prompts that no test of likeness takes for each other."""
    words = [NUMBERS[(number // 15**place) % 15] for place in range(3)]
    return f"{topic} {words[0]}{words[1]}{words[2]} {topic}{number} plan{number} budget{number} crew{number}"


class House:
    """The helpers above, as one fixture (test modules cannot import this file)."""

    prompt_row = staticmethod(prompt_row)
    answer_row = staticmethod(answer_row)
    round_of = staticmethod(round_of)
    write_answers = staticmethod(write_answers)
    write_prompts = staticmethod(write_prompts)
    make_row = staticmethod(make_row)
    distinct_prompt = staticmethod(distinct_prompt)


@pytest.fixture(scope="session")
def house() -> type[House]:
    return House
