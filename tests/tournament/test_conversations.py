"""Tournaments on conversations: every role reads all turns, and what cannot be read as text fails at a named stage."""

import json
from pathlib import Path
from typing import Any

import pytest
from scripted import FOR_B, Script, answer

from stillhouse.llm.requests import Request
from stillhouse.tournament.conversation import asked_text, told
from stillhouse.tournament.retrieval import Library
from stillhouse.tournament.settings import ContextSettings

PIRATE = {"role": "system", "content": "Answer as a pirate."}
TALK: list[dict[str, Any]] = [
    PIRATE,
    {"role": "user", "content": "Sort a list in Rust."},
    {"role": "assistant", "content": "vec.sort();"},
    {"role": "user", "content": [{"type": "text", "text": "And in"}, {"type": "text", "text": "descending order?"}]},
]
SHOWN = "[User]\nSort a list in Rust.\n\n[Assistant]\nvec.sort();\n\n[User]\nAnd in\ndescending order?"
NAMED = f"[Instructions to the assistant (system message)]\nAnswer as a pirate.\n\n{SHOWN}"
PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALLING = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "weather"}}]}
RESULT = {"role": "tool", "content": "rain", "tool_call_id": "1"}


def by_role(script: Script) -> dict[str, Request]:
    return dict(script.asked)


def test_every_role_reads_the_whole_conversation(tmp_path: Path) -> None:
    script = Script(judge=FOR_B)
    row = answer(tmp_path, script, asked=[{"messages": TALK}])[0]
    asked = by_role(script)
    assert row["stage"] is None and set(asked) == {"teacher", "critic", "author", "synthesizer", "judge"}
    assert [turn["role"] for turn in asked["teacher"].chat()] == ["system", "user", "assistant", "user"]
    for role in ("critic", "author", "synthesizer", "judge"):
        assert f"\n{NAMED}\n" in asked[role].messages[-1][1], role
    for role in ("author", "synthesizer"):
        assert asked[role].messages[0] == ("system", PIRATE["content"])
    for role in ("critic", "judge"):
        assert [name for name, _ in asked[role].messages] == ["user"]


def test_the_teachers_system_prompt_stands_in_for_the_prompts_own(tmp_path: Path) -> None:
    script = Script(judge=FOR_B)
    answer(tmp_path, script, asked=[{"messages": TALK}], system="Review plans.")
    assert not any("pirate" in content for _, request in script.asked for _, content in request.messages)
    for role in ("teacher", "author", "synthesizer"):
        assert [turn for turn in by_role(script)[role].messages if turn[0] == "system"] == [("system", "Review plans.")]
    assert f"\n{SHOWN}\n" in by_role(script)["critic"].messages[-1][1]


def test_one_turn_is_shown_as_it_is(tmp_path: Path) -> None:
    one = [{"role": "user", "content": "Why {{ x }}?"}]
    assert told(one, "Why {{ x }}?") == "Why {{ x }}?"
    script = Script()
    answer(tmp_path, script, asked=[{"messages": [PIRATE, *one]}], system="Review plans.")
    (tmp_path / "plain").mkdir()
    plain = Script()
    answer(tmp_path / "plain", plain, asked=[{"prompt": "Why {{ x }}?"}], system="Review plans.")
    assert by_role(script)["critic"].messages == by_role(plain)["critic"].messages


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, PICTURE]}]}, "image_url"),
        ({"messages": [TALK[1], CALLING, RESULT, TALK[3]]}, "calls of tools"),
        ({"messages": [TALK[1], RESULT, TALK[3]]}, "calls of tools"),
        ({"prompt": "Rain?", "tools": TOOLS}, "has tools"),
    ],
    ids=["picture", "calls", "result", "tools"],
)
def test_what_judges_cannot_be_shown_fails_its_prompt_only(tmp_path: Path, prompt: dict, reason: str) -> None:
    script = Script()
    rows = answer(tmp_path, script, asked=[{"id": "bad", **prompt}, {"id": "good", "prompt": "Why?"}])
    found = {row["id"]: row for row in rows}
    assert (found["bad"]["stage"], found["bad"]["attempts"], found["bad"]["calls"]) == ("prompt", 0, [])
    assert reason in found["bad"]["reason"]
    assert found["good"]["stage"] is None
    assert {role for role, request in script.asked if "Why?" not in str(request.messages)} == set()
    (tmp_path / "single").mkdir()
    single = answer(tmp_path / "single", Script(), asked=[prompt], method="single", tournament=None)[0]
    assert single["stage"] is None, "the teacher itself can be asked"


def test_passages_are_searched_by_all_that_the_user_says(tmp_path: Path) -> None:
    texts = {"rust.md": "Rust sorts a vector by its own method.", "tide.md": "The moon draws the tide."}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    library = Library([tmp_path / name for name in texts], ContextSettings(context_root=str(tmp_path)))
    row = answer(tmp_path, Script(), asked=[{"messages": TALK}], method="single", tournament=None, library=library)[0]
    assert [passage["source"] for passage in json.loads(row["context"])] == ["rust.md"]
    assert asked_text(TALK) == "Sort a list in Rust.\nAnd in\ndescending order?"
