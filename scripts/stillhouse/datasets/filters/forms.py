"""Filters by form: whether an answer is JSON, and whether its Python parses. Nothing of it is ever run."""

import ast
import json
import re
import textwrap
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from stillhouse.datasets.filters.base import Answer, answer_of

# An opening fence of CommonMark with its info string, and all up to the closing one or the end.
_FENCE = re.compile(
    r"^[ \t]*+(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<language>[^\s`~{]*+)[^\n`]*+\n"
    r"(?P<body>.*?)(?:^[ \t]*+(?P=fence)[`~]*+[ \t]*+$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_PYTHON = frozenset({"python", "python3", "py", "py3", "pycon"})
_WARNINGS = threading.Lock()
"""Batches are filtered in threads, and what is ignored holds for all of them."""

_PROMPTED = re.compile(r"^\s*>>> ?", re.MULTILINE)
_QUOTED = re.compile(r"(?:^ {0,3}>(?!>>).*+(?:\n|\Z))+", re.MULTILINE)
_QUOTE_SIGN = re.compile(r"^ {0,3}> ?", re.MULTILINE)
_DEEPEST_QUOTE = 4

# What notebooks take beside Python: shell commands, magics and requests for help, alone or assigned.
_NOTEBOOK_LINE = re.compile(
    r"^([ \t]*)(?:[\w, ]+=[ \t]*)?(?:[!%]+[\w./~{$-].*|\?{1,2}[\w.]+|[\w.]+\?{1,2})[ \t]*$", re.MULTILINE
)
_CELL = re.compile(r"\s*%%(?!time\b|timeit\b|capture\b|prun\b)\w")


@dataclass(frozen=True)
class ValidJson:
    """Keeps answers that are one JSON value (RFC 8259), bare or in one code fence with nothing around it."""

    reason = "valid_json"
    label = "valid_json: true"
    columns = ("answer",)

    def keep(self, row: Answer) -> bool:
        return is_json(unfenced(answer_of(row)))


@dataclass(frozen=True)
class CodeParses:
    """Keeps answers whose blocks of Python 3 parse, those in quotes included.

    Blocks of other languages, or of none, are not looked at.
    """

    reason = "code_parses"
    label = "code_parses: true"
    columns = ("answer",)

    def keep(self, row: Answer) -> bool:
        return all(map(parses, python_blocks(answer_of(row).replace("\r\n", "\n"))))


def python_blocks(text: str) -> Iterator[str]:
    """The code blocks of `text` that say they are Python, also those inside quotes (`> `)."""
    for _ in range(_DEEPEST_QUOTE):
        for match in _FENCE.finditer(text):
            if match["language"].lower() in _PYTHON:
                yield match["body"]
        quotes = _QUOTED.findall(_FENCE.sub("", text))
        if not quotes:
            return
        text = "\n".join(_QUOTE_SIGN.sub("", one) for one in quotes)


def unfenced(text: str) -> str:
    """The content of the one code fence that `text` is, or `text` itself."""
    whole = text.strip().replace("\r\n", "\n")
    match = _FENCE.match(whole)
    return match["body"] if match and match.end() == len(whole) else whole


def is_json(text: str) -> bool:
    """Whether `text` is JSON and nothing else; NaN and Infinity are none, numbers of any length are."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def parses(code: str) -> bool:
    """Whether `code` is Python 3 that this interpreter parses; of a session with `>>>`, the lines that were typed.

    Lines for a notebook (`!pip install x`, `%timeit f()`) are taken out; a cell of another language (`%%bash`) passes.
    """
    code = textwrap.dedent(code)
    if _PROMPTED.match(code):
        code = _typed(code)
    if _CELL.match(code) or _is_python(code):
        return True
    plain = _NOTEBOOK_LINE.sub(r"\1pass", code)
    return plain != code and _is_python(plain)


def _is_python(code: str) -> bool:
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence" and its like
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _typed(session: str) -> str:
    """What was typed in a session: lines behind `>>>`, and behind `...` where a line goes on."""
    kept, typing = [], False
    for line in session.split("\n"):
        if line.startswith(">>>"):
            kept.append(line[4:])
            typing = True
        elif typing and line.startswith("..."):
            kept.append(line[4:])
        else:
            typing = False
    return "\n".join(kept)
