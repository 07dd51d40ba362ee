"""Answered prompts of every kind that formats meet, and what each format makes of them, for tests of several modules."""

import json
from pathlib import Path
from typing import Any

from stillhouse.datasets.examples import FormatContext, table_of
from stillhouse.datasets.filters.registry import make_filters
from stillhouse.datasets.formats import FORMATS
from stillhouse.provenance.digests import canonical_json, prompt_id
from stillhouse.provenance.files import atomic_path
from stillhouse.study.datasets import Dataset

ANSWERED = {
    "method": "single",
    "truncated": False,
    "metadata": "{}",
    "set": "plans",
    "category": "audit",
    "sample": 0,
    "context": None,
}
CALL = {
    "type": "function",
    "id": "c1",
    "function": {"name": "rainfall", "arguments": {"month": "May", "place": "Bern"}},
}
TOOLS = [{"type": "function", "function": {"name": "rainfall", "description": "Rain in mm", "parameters": {
    "type": "object", "properties": {"month": {"type": "string"}, "place": {"type": "string"}}}}}]  # fmt: skip


def answered(name: str, messages: list[dict], answer: str, rounds: list[dict] | None = None, **other: Any) -> dict:
    return {
        **ANSWERED, "prompt_id": prompt_id(messages), "id": name, "messages": canonical_json(messages),
        "answer": answer, "draft": other.pop("draft", answer), "reasoning": None, "tools": None,
        "winners": [one["winner"] for one in rounds or []], "transcript": canonical_json({"rounds": rounds or []}),
        "calls": [f"call-{name}"], **other,
    }  # fmt: skip


def contest(
    number: int, winner: str, borda: dict[str, int], texts: dict[str, str], critique: str = "Too vague."
) -> dict:
    return {
        "round": number, "critique": critique, "no_flaws": len(texts) == 1, "candidates": texts, "votes": [],
        "borda": borda, "winner": winner, "note": None,
    }  # fmt: skip


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


PLAIN = answered(
    "plain", [user("Should the bakery move?")], "Wait a year:\n\nrents fall.", reasoning="Rents fell in May."
)
TALK = answered(
    "talk",
    [
        {"role": "system", "content": "Be brief."},
        user("Name a risk."),
        said("Frost."),
        user("And the \u201csecond\u201d?"),
    ],
    "Thaw.",
)
DEFENDED = answered(
    "defended",
    [user("Is the bridge safe?")],
    "Close one lane first.",
    [
        contest(1, "A", {"A": 6, "B": 2, "AB": 1},
                {"A": "Close one lane first.", "B": "Close it all.", "AB": "Close some of it."}),
        contest(2, "A", {}, {"A": "Close one lane first."}, "NO FLAWS"),
    ],
    reasoning="The joint is the weak part.",
)  # fmt: skip
REVISED = answered(
    "revised",
    [user("Review the school plan.")],
    "Hire two teachers before September.",
    [
        contest(1, "B", {"A": 2, "B": 6, "AB": 1}, {"A": "Hire people.", "B": "Hire two teachers.", "AB": "Hire teachers."}),
        contest(2, "AB", {"A": 4, "B": 0, "AB": 5},
                {"A": "Hire two teachers.", "B": "Hire nobody.", "AB": "Hire two teachers before September."},
                "No date is given."),
    ],
    draft="Hire people.",
    reasoning="The critique asks for a date.",
)  # fmt: skip
WIRE = canonical_json({"tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "rainfall", "arguments": '{"month": "May"}'}}
]})  # fmt: skip
CALLER = answered("caller", [user("How wet was May?")], WIRE, tools=canonical_json(TOOLS))
AGENT = answered(
    "agent",
    [
        user("How wet was May in Bern?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "name": "rainfall", "content": "118"},
    ],
    "118 mm fell.",
    tools=canonical_json(TOOLS),
)
ROWS = (PLAIN, TALK, DEFENDED, REVISED)


def context_of(form: str, others: dict | None = None, filters: Any = (), **settings: Any) -> FormatContext:
    """What a format is told of rows of one source with these `filters`, as a study writes them."""
    source = {"generation": "plans", "filters": list(filters)}
    dataset = Dataset.model_validate({"format": form, "sources": [source], **settings})
    made = make_filters(dataset.sources[0].filters, {}, format=form)
    return FormatContext(dataset, others or {}, [made]).of_source(0)


def with_votes(one: dict, *rankings: list[str] | None) -> dict:
    """A round of a transcript with these votes; None is one that could not be read."""
    return {**one, "votes": [{"ranking": ranking} for ranking in rankings]}


def examples_of(form: str, rows: Any = ROWS, context: FormatContext | None = None) -> list[dict[str, Any]]:
    """Rows of a dataset, with their ancestry."""
    told = context or context_of(form)
    names = ("prompt_id", "set", "id", "category", "sample", "calls")
    return [
        {**example, **{name: row[name] for name in names}, "generation": "plans", "copy": 0}
        for row in rows
        for example in FORMATS[form].examples(row, told).examples
    ]


def write_split(path: Path, form: str, examples: list[dict[str, Any]], rich: bool = False) -> Path:
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(table_of(examples, FORMATS[form].schema(rich)), temporary)
    return path


def golden(name: str, text: str) -> None:
    """Compare `text` with the golden file byte by byte."""
    file = Path(__file__).parent / "golden" / name
    assert text.encode() == file.read_bytes(), f"{name} is not what it was; now it is:\n{text}"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
