"""Conversations as prompts: what is sound, their texts, and their identity."""

import unicodedata
from collections.abc import Iterator
from typing import Any

from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.records import parse_json
from stillhouse.provenance.digests import digest_text

Message = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool")
NAMES = ("role", "type", "id", "name", "tool_call_id")
"""Keys of messages, parts and calls that name things; what stands there is no text."""


def conversation(prompt: Any, messages: Any) -> list[Message]:
    """The messages of a prompt: one user turn of its text, or the conversation that is given, left as it is.

    A key without a value says nothing and goes, except for `content`. A prompt beside messages must be a user turn of
    theirs, since only the messages are asked. Raises `Flaw`.
    """
    if messages is None:
        if not isinstance(prompt, str) or not is_seen(prompt):
            found = "" if prompt is None or isinstance(prompt, str) else f", found {type(prompt).__name__}"
            raise Flaw("no_prompt", f'"prompt" is empty or missing; expected text{found}')
        return [{"role": "user", "content": prompt.strip()}]
    turns = _parsed(messages)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) and _sound(turn) for turn in turns):
        raise _bad_messages()
    if not any(turn["role"] == "user" for turn in turns):
        raise _bad_messages()
    if prompt not in (None, "") and not _is_turn(prompt, turns):
        raise Flaw("bad_messages", '"prompt" is no user turn of "messages"; say by `columns` which of the two is meant')
    return [{key: value for key, value in turn.items() if value is not None or key == "content"} for turn in turns]


def _is_turn(prompt: Any, turns: list[Message]) -> bool:
    """Whether a text is a user turn of a conversation."""
    said = (text_of(turn).strip() for turn in turns if turn["role"] == "user")
    return isinstance(prompt, str) and prompt.strip() in said


def is_seen(text: str) -> bool:
    """Whether a text holds a character that can be seen: no space, control, format character, or mark alone."""
    return any(sign not in _BLANK_LETTERS and unicodedata.category(sign) not in _UNSEEN for sign in text)


_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Fillers of Hangul and the empty Braille pattern, which are letters and signs by their category."""


def _bad_messages() -> Flaw:
    roles = ", ".join(ROLES)
    return Flaw(
        "bad_messages",
        f'"messages" must be a list of {{role, content}} with text and one user turn at least; roles are {roles}',
    )


def _parsed(value: Any) -> Any:
    """A list that a table holds as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except Flaw as flaw:
        if flaw.reason == "doubled_key":
            raise
        return value


def _sound(turn: Message) -> bool:
    """Whether a turn says something: text, parts, calls of tools, or what a tool gave back, be it nothing."""
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES or not (content is None or isinstance(content, str | list)):
        return False
    if role == "tool":
        return content is not None
    if role == "assistant" and turn.get("tool_calls"):
        return True
    if isinstance(content, list):
        return bool(content) and all(isinstance(part, dict) for part in content) and any(map(_shows, content))
    return bool(content and is_seen(content))


def _shows(part: Message) -> bool:
    """Whether a part of a turn is more than blank text."""
    return not isinstance(part.get("text"), str) or is_seen(part["text"])


def tools_of(tools: Any) -> list[Message] | None:
    """The tools of a prompt as a list, None where it has none. Raises `Flaw`."""
    found = _parsed(tools)
    if found in (None, "", []):
        return None
    if not isinstance(found, list) or not all(isinstance(tool, dict) and tool for tool in found):
        raise Flaw("bad_tools", '"tools" must be a list of objects, each a tool as chat APIs take it')
    return found


def identity_of(messages: str, tools: str | None) -> str:
    """The prompt_id of canonical JSON: 16 hex digits over the messages, and over the tools where there are any."""
    covered = messages if tools is None else f'{{"messages":{messages},"tools":{tools}}}'
    return digest_text(covered)[:16]


def texts_of(turn: Message) -> list[str]:
    """Every text of a turn: its content, what stands in its parts, and what it hands to tools; no names."""
    content = turn.get("content")
    if isinstance(content, str) and len(turn) == 2:
        return [content]
    return list(_leaves(turn, NAMES))


def _leaves(value: Any, names: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in names:
                yield from _leaves(item, () if key == "arguments" else names)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, names)


def last_user_text(messages: list[Message]) -> str:
    """The text of the last user turn."""
    return text_of(next(turn for turn in reversed(messages) if turn["role"] == "user"))


def text_of(turn: Message) -> str:
    """The text of a turn's content; of parts those with text, one a line."""
    content = turn.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
