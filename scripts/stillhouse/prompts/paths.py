"""Dotted paths into records: `data.question`, `conversations.0.value`."""

from typing import Any


def lookup(entry: dict[str, Any], path: str) -> Any:
    """What stands at a path, None where nothing does. A column whose name holds the dots comes first."""
    if path in entry:
        return entry[path]
    value: Any = entry
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.lstrip("-").isdigit() and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def without(entry: dict[str, Any], path: str) -> dict[str, Any]:
    """The record without what stands at a path; parts of lists stay, and objects that it empties go."""
    if path in entry:
        return {key: value for key, value in entry.items() if key != path}
    first, dot, below = path.partition(".")
    if not dot or not isinstance(entry.get(first), dict):
        return entry
    left = without(entry[first], below)
    return {key: left if key == first else value for key, value in entry.items() if key != first or left}
