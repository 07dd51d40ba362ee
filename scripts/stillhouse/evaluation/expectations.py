"""What a prompt expects of an answer: how it is written in a prompt file, and what is refused."""

import ast
import difflib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stillhouse.errors import InputError

LONGEST_S = 30.0
DEFAULT_S = 5.0


@dataclass(frozen=True)
class Expectation:
    """One expectation: its kind, and its value with every default in place."""

    kind: str
    value: Any


def check_expectations(value: Any, place: str) -> list[Expectation]:
    """The expectations in a prompt's `expect`: a list of objects with one key each.

    Raises `InputError` that names `place` (file and line, or set and prompt), the number of the expectation, the
    key, what was found and what was expected.
    """
    if not isinstance(value, list) or not value:
        raise InputError(
            f"{place}: expect: expected a list of objects such as {{contains: TEXT}}, found {_told(value)}"
        )
    return [_expectation(item, f"{place}, expect {number}") for number, item in enumerate(value, start=1)]


def _expectation(item: Any, place: str) -> Expectation:
    if not isinstance(item, dict) or len(item) != 1:
        raise InputError(f"{place}: expected an object with exactly one of {', '.join(KINDS)}; found {_told(item)}")
    [(kind, value)] = item.items()
    if kind not in KINDS:
        raise InputError(f"{place}: {_unknown(str(kind), list(KINDS))}")
    return Expectation(kind, KINDS[kind](value, f"{place}: {kind}"))


def _told(value: Any) -> str:
    """A value as an error shows it, in 80 characters at most."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"unknown key {key!r}; expected one of {', '.join(known)}{f'; did you mean {near[0]}?' if near else ''}"


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: expected text that is not empty, found {_told(value)}")
    return value


def _regex(value: Any, place: str) -> str:
    try:
        re.compile(_text(value, place))
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"{place}: bad regex {value!r}: {error}") from None
    return value


def _object(value: Any, place: str, required: str, optional: str) -> dict[str, Any]:
    if not isinstance(value, dict) or required not in value:
        raise InputError(f"{place}: expected {{{required}, {optional}?}}, found {_told(value)}")
    if unknown := [str(key) for key in value if key not in (required, optional)]:
        raise InputError(f"{place}: {_unknown(unknown[0], [required, optional])}")
    return value


def _finite(value: Any, place: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        if number and math.isfinite(float(value)):
            return float(value)
    except OverflowError:
        pass
    raise InputError(f"{place}: expected a number, found {_told(value)}")


def _number(value: Any, place: str) -> dict[str, float]:
    given = _object(value, place, "value", "tolerance")
    tolerance = _finite(given.get("tolerance", 0), f"{place}.tolerance")
    if tolerance < 0:
        raise InputError(f"{place}.tolerance: expected 0 or more, found {tolerance:g}")
    return {"value": _finite(given["value"], f"{place}.value"), "tolerance": tolerance}


def _json(value: Any, place: str) -> bool:
    if value is not True:
        raise InputError(f"{place}: expected true, found {_told(value)}")
    return True


def _schema(value: Any, place: str) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError  # only prompts with a schema wait for it

    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON schema, an object; found {_told(value)}")
    try:
        Draft202012Validator.check_schema(value)
    except (SchemaError, RecursionError) as error:
        path = getattr(error, "json_path", "$")
        raise InputError(f"{place}: no JSON schema: {path}: {getattr(error, 'message', error)}") from None
    for pattern in _patterns(value):
        _regex(pattern, place)
    return value


def _patterns(schema: Any) -> Iterator[str]:
    """Every regex in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), dict):
            yield from schema["patternProperties"]
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []:
        yield from _patterns(part)


def _code(value: Any, place: str) -> dict[str, Any]:
    given = _object(value, place, "tests", "timeout")
    tests = _text(given["tests"], f"{place}.tests")
    try:
        ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{place}.tests: not Python: {error}") from None
    seconds = _finite(given.get("timeout", DEFAULT_S), f"{place}.timeout")
    if not 0 < seconds <= LONGEST_S:
        raise InputError(f"{place}.timeout: expected more than 0 and at most {LONGEST_S:g} seconds, found {seconds:g}")
    return {"tests": tests, "timeout": seconds}


KINDS: dict[str, Callable[[Any, str], Any]] = {
    "contains": _text,
    "excludes": _text,
    "regex": _regex,
    "equals": _text,
    "number": _number,
    "json": _json,
    "json_schema": _schema,
    "code": _code,
}
