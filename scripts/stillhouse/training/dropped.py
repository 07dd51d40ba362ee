"""What a chat template leaves out of a row: reasoning, tool calls, tools that are offered, and system turns."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stillhouse.training.rows import Message, Row
from stillhouse.training.tokens import Rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
SYSTEM = ("system", "developer")

Told = tuple[str, str]
"""A fault's name and words."""


def prompt_told(row: Row, rendered: Rendered, text: str, tokenizer: "PreTrainedTokenizerBase") -> Iterator[Told]:
    """What `text`, the whole conversation, lacks of the row's prompt and tools."""
    for thought in thoughts(row["prompt"]):
        if thought not in text:
            words = f"the chat template drops the reasoning of an earlier turn: {thought[:60]!r}"
            yield "earlier_reasoning_dropped", words
            break
    for message in row["prompt"]:
        said = content_of(message).strip()
        if message.get("role") in SYSTEM and said not in text:
            yield "system_dropped", f"the chat template drops or changes the {message['role']} turn: {said[:60]!r}"
    lost = lost_call(row["prompt"], lambda part: part in text)
    if lost:
        yield "tool_call_dropped", f"the chat template drops the tool call of an earlier turn: {lost}"
    if row.get("tools") and _without_tools(row, rendered, tokenizer):
        yield "tools_dropped", f"the chat template does not offer the row's tools: {', '.join(_names(row['tools']))}"


def _without_tools(row: Row, rendered: Rendered, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether a tool's name stands nowhere in the prompt, or the prompt is the same without tools."""
    if not all(_word(name, rendered.opened) for name in _names(row["tools"])):
        return True
    try:
        plain = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    except Exception:  # a template that cannot do without tools offers them
        return False
    return str(plain).startswith(rendered.opened)


def _names(tools: list[Any]) -> list[str]:
    return [str((tool.get("function") or tool).get("name", "?")) for tool in tools if isinstance(tool, dict)]


def lost_call(messages: list[Message], stands: Callable[[str], bool]) -> str | None:
    """The first tool call of `messages` whose name or arguments do not stand in a text, in words; else None."""
    for message in messages:
        for call in message.get("tool_calls") or []:
            function = call.get("function") or call
            lost = next((part for part in _parts(function) if not any(map(stands, _forms(part)))), None)
            if lost is not None:
                return f"{function.get('name')!r} ({lost[:60]!r} is not there)"
    return None


def _parts(function: dict[str, Any]) -> Iterator[str]:
    """The function's name, and every key and value of its arguments, which may come as JSON."""
    yield str(function.get("name") or "")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError):
            arguments = json.loads(arguments)
    yield from _leaves(arguments)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):  # templates write these in Python's words or in JSON's
        yield str(value).strip()


def _forms(part: str) -> set[str]:
    """A text as templates write it: plain, or as JSON with or without escapes, once or within another JSON text."""
    once = {json.dumps(part, ensure_ascii=escaped)[1:-1] for escaped in (True, False)}
    return {part, *once, *(json.dumps(form, ensure_ascii=False)[1:-1] for form in once)}


def _word(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def thoughts(messages: list[Message]) -> Iterator[str]:
    """The reasoning that assistant turns hold, between <think> tags or in a key of its own."""
    for message in messages:
        if message.get("role") != "assistant":
            continue
        blocks = [*THOUGHT.findall(content_of(message)), *(message.get(key) for key in REASONING_KEYS)]
        yield from (block.strip() for block in blocks if isinstance(block, str) and block.strip())


def content_of(message: Message) -> str:
    """The text of a message; parts of other kinds count as nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))
