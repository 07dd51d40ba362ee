"""Marker files: the words and patterns that tell whether an answer speaks as the framework does.

Used on both sides of training: as a filter on dataset rows, and as a score in evaluations.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StringConstraints, ValidationError

from stillhouse.errors import InputError
from stillhouse.study.base import Section

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PatternMarker(Section):
    """A marker that is a regular expression."""

    pattern: Annotated[str, StringConstraints(min_length=1)] = Field(description="Python regex, case is ignored")


class MarkerFile(Section):
    """A marker file as the user writes it."""

    cap: int = Field(4, ge=1, description="hits from which an answer's capped score is 1")
    markers: list[Text | PatternMarker] = Field(min_length=1, description="texts, or {pattern: regex}")


@dataclass(frozen=True)
class Markers:
    """A marker file, ready to match. `names` are the texts and the regexes as they stand in the file."""

    cap: int
    names: tuple[str, ...]
    matchers: tuple[str | re.Pattern[str], ...]

    def hits(self, text: str) -> list[str]:
        """Names of the markers that `text` holds, each once, in the file's order."""
        lowered = text.lower()
        return [name for name, matcher in zip(self.names, self.matchers, strict=True) if _found(matcher, text, lowered)]


def _found(matcher: str | re.Pattern[str], text: str, lowered: str) -> bool:
    return matcher in lowered if isinstance(matcher, str) else matcher.search(text) is not None


def load_markers(path: str | Path) -> Markers:
    """Read a marker file.

    Raises:
        InputError: the file is missing, is no YAML, or holds a marker that cannot be used; the text names
            the file, and the line or the number of the marker (counted from 1).
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such markers file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return _parse(text, str(path))


@lru_cache(maxsize=64)
def _parse(text: str, path: str) -> Markers:
    content = _document(text, path)
    try:
        file = MarkerFile.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_fault(error, content)}") from None
    matchers = tuple(_matcher(marker, number, path) for number, marker in enumerate(file.markers, start=1))
    names = tuple(marker if isinstance(marker, str) else marker.pattern for marker in file.markers)
    _refuse_repeats(names, path)
    return Markers(cap=file.cap, names=names, matchers=matchers)


def _document(text: str, path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected {{cap: 4, markers: [...]}}, found {type(content).__name__}")
    return content


def _fault(error: ValidationError, content: dict[str, Any]) -> str:
    """The first fault in plain words; pydantic tells a union's branches one by one, which says too much."""
    first = error.errors(include_url=False)[0]
    where = first["loc"]
    if len(where) > 1 and where[0] == "markers" and isinstance(where[1], int):
        found = content["markers"][where[1]]
        return f"marker {where[1] + 1}: expected a text (quote numbers) or {{pattern: regex}}, found {found!r}"
    return f"{'.'.join(map(str, where))}: {first['msg']}"


def _matcher(marker: str | PatternMarker, number: int, path: str) -> str | re.Pattern[str]:
    if isinstance(marker, str):
        return marker.lower()
    try:
        compiled = re.compile(marker.pattern, re.IGNORECASE)
    except re.error as error:
        raise InputError(f"{path}: marker {number}: bad regex {marker.pattern!r}: {error}") from None
    if compiled.search(""):
        raise InputError(f"{path}: marker {number}: regex {marker.pattern!r} matches the empty text, so every answer")
    return compiled


def _refuse_repeats(names: tuple[str, ...], path: str) -> None:
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        first = seen.setdefault(name.lower(), number)
        if first != number:
            raise InputError(f"{path}: marker {number}: {name!r} stands there already as marker {first}")
