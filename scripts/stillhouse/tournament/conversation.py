"""Conversations for roles that read them from outside: as one text, where every turn is one of text."""

from typing import Any

from stillhouse.llm.requests import Message

HEADS = {"system": "Instructions to the assistant (system message)", "user": "User", "assistant": "Assistant"}


class UnreadableError(Exception):
    """A conversation that cannot be shown as text; the text says why."""


def asked_text(messages: list[Message]) -> str:
    """All that the user says, a turn after the other."""
    return "\n".join(_text(message["content"]) for message in messages if message["role"] == "user")


def told(messages: list[Message], prompt: str) -> str:
    """A conversation as a text: `prompt` itself where it is one user turn, else every turn under its role's name.

    Raises `UnreadableError` for pictures and other parts without text, and for calls of tools and their results.
    """
    for message in messages:
        _check(message)
    if len(messages) == 1:
        return prompt
    return "\n\n".join(f"[{HEADS[message['role']]}]\n{_text(message['content'])}" for message in messages)


def _check(message: Message) -> None:
    if message["role"] not in HEADS or message.get("tool_calls"):
        raise UnreadableError("the prompt holds calls of tools, which a tournament's other roles cannot be shown")
    content = message["content"]
    if isinstance(content, list) and not all(isinstance(part.get("text"), str) for part in content):
        kinds = ", ".join(sorted({str(part.get("type")) for part in content if not isinstance(part.get("text"), str)}))
        raise UnreadableError(f"the prompt holds parts ({kinds}) that a tournament's other roles cannot be shown")


def _text(content: Any) -> str:
    """A turn's text; of parts those with text, one a line."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""
