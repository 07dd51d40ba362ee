"""What all judges' replies share: reasoning before the answer, JSON objects in prose, and what no file can hold."""

import json
import re
from typing import Any

import json_repair

from stillhouse.llm.reasoning import TAG, split_reasoning

# A backslash in JSON that is meant: \" \\ \/ \uXXXX \n \r \t. Judges write LaTeX unescaped, and then \frac would
# become a form feed, \beta a backspace, \times a tab: such a backslash is doubled before parsing.
_LATEX = r"(?:imes|ext|heta|au|an|o|abla|eq|eg|u|ho|ight|m)\b"
_BACKSLASH = re.compile(rf'\\(\\|"|/|u[0-9a-fA-F]{{4}}|[nrt](?!{_LATEX}))?')
FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
REPAIRABLE = 50_000  # characters of an object that is not JSON and still repaired; a megabyte takes ten seconds
MOST_OBJECTS = 200  # different ones in a reply; more are no verdict
_KEY = re.compile(r"""["'{,]\s*([\w][\w .-]{0,80}?)["']?\s*:""")


class AmbiguousError(Exception):
    """A reply that says two different things."""


def normal(name: str) -> str:
    """A name without what judges change in it: case, spaces, hyphens."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def without_reasoning(text: str) -> str:
    """`text` without the think block that it begins with; tags further on are words of the reply."""
    return split_reasoning(text).answer if TAG.match(text.lstrip()) else text


def storable(text: str) -> str:
    """`text` as UTF-8 can hold it: half a surrogate pair becomes the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def spans(text: str) -> tuple[list[str], bool]:
    """Outermost {...} of `text`, and whether a last one has no end. Braces inside strings do not count."""
    found: list[str] = []
    depth, start, quoted, escaped = 0, 0, False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"' and depth:
            quoted = True
        elif character == "{":
            start = start if depth else place
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                found.append(text[start : place + 1])
    return found, depth > 0


def parse_object(span: str, names: set[str]) -> dict[str, Any] | None:
    """One balanced object: strictly, else repaired. json-repair never sees an object without its end.

    Raises `AmbiguousError` when a key comes twice with two values; in a repaired object, where that cannot be seen
    any more, when one of `names` (normal ones) comes twice.
    """
    kept = _BACKSLASH.sub(lambda match: match[0] if match[1] else "\\\\", span)
    try:
        value = json.loads(kept, object_pairs_hook=no_repeats)
    except (ValueError, RecursionError):
        value = _repaired(kept, names)
    return value if isinstance(value, dict) else None


def _repaired(text: str, names: set[str]) -> Any:
    if len(text) > REPAIRABLE:
        return None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    keys = [normal(key) for key in _KEY.findall(text)]
    for name in sorted(names & set(keys)):
        if keys.count(name) > 1:
            raise AmbiguousError(f"{name!r} comes twice")
    return value


def parse_objects(inside: list[str], names: set[str]) -> list[dict[str, Any]]:
    """The different objects among `inside`, parsed as by `parse_object`. Raises `AmbiguousError` for far too many."""
    different = dict.fromkeys(inside)
    if len(different) > MOST_OBJECTS:
        raise AmbiguousError(f"{len(different)} objects")
    return [value for span in different if (value := parse_object(span, names))]


def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that comes twice with different values would silently keep the last."""
    kept: dict[str, Any] = {}
    for name, value in pairs:
        if name in kept and kept[name] != value:
            raise AmbiguousError(f"{name!r} comes twice")
        kept[name] = value
    return kept
