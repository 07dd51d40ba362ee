"""Agentic prompts: tools, calls of tools and parts reach the model as they are, and the identity of others stays."""

import json
from pathlib import Path
from typing import Any

from scripted import Script, answer

from stillhouse.llm.openai_backend import parse
from stillhouse.llm.requests import Request, make_request
from stillhouse.llm.structured import body_of
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Dialogue
from stillhouse.study.models import OpenAIModel
from stillhouse.tournament.retrieval import Library
from stillhouse.tournament.settings import ContextSettings

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "You have tools."},
    {"role": "user", "content": "Rain in Ulm?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "weather"}}]},
    {"role": "tool", "content": "rain", "tool_call_id": "1"},
]


def requests(script: Script) -> list[Request]:
    return [request for _, request in script.asked]


def test_messages_and_tools_reach_the_server_as_they_are(tmp_path: Path) -> None:
    script = Script()
    row = answer(tmp_path, script, asked=[{"messages": TALK, "tools": TOOLS}], method="single", tournament=None)[0]
    [request] = requests(script)
    body = body_of(request, OpenAIModel(backend="openai", base_url="http://x/v1", model="m"))
    assert (body["messages"], body["tools"]) == (TALK, TOOLS)
    assert (json.loads(row["messages"]), json.loads(row["tools"])) == (TALK, TOOLS)
    assert request.payload()["tools"] == TOOLS
    assert row["stage"] is None


def test_what_a_message_holds_beside_its_text_is_part_of_the_identity() -> None:
    def digest(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
        return make_request({"m": 1}, messages, Sampling(), seed_parts=("p",), tools=tools).digest

    other = [*TALK[:3], {**TALK[3], "tool_call_id": "2"}]
    assert len({digest(TALK), digest(other), digest(TALK, TOOLS), digest(TALK[:2])}) == 4
    plain = make_request({"m": 1}, TALK[:2], Sampling(), seed_parts=("p",), tools=[])
    assert plain.payload().keys() == {"model", "messages", "sampling", "grammar", "index"}
    assert plain.whole is None


def test_only_the_teacher_has_tools(tmp_path: Path) -> None:
    talk = Script()
    asked = [{"messages": TALK, "tools": TOOLS}]
    answer(tmp_path, talk, asked=asked, method="dialogue", tournament=None, dialogue=Dialogue(turns=3))
    teacher, partner, last = requests(talk)
    assert teacher.tools == last.tools == TOOLS
    assert (partner.tools, partner.whole) == (None, None)
    assert last.chat()[:4] == TALK


def test_parts_of_a_turn_are_kept_beside_the_passages(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Rain falls in Ulm.")
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    asked = [{"messages": [{"role": "user", "content": [{"type": "text", "text": "Rain in Ulm?"}, picture]}]}]
    script, library = Script(), Library([tmp_path / "a.md"], ContextSettings(context_root=str(tmp_path)))
    answer(tmp_path, script, asked=asked, method="single", tournament=None, library=library)
    text, kept = requests(script)[0].chat()[0]["content"]
    assert kept == picture
    assert "Rain falls in Ulm." in text["text"]
    assert text["text"].endswith("Rain in Ulm?")


def test_an_answer_that_calls_a_tool_is_kept_as_json() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]

    def parsed(content: str | None) -> Any:
        message = {"role": "assistant", "content": content, "tool_calls": calls}
        return parse(json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode())

    assert json.loads(parsed(None).text) == {"tool_calls": calls}
    assert json.loads(parsed("I look.").text) == {"content": "I look.", "tool_calls": calls}
    assert parsed(None).finish_reason == "tool_calls"
