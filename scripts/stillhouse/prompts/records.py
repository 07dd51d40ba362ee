"""Reads the records of a prompt file: JSON lines, a JSON list, CSV, TSV or plain lines; parquet is in `tables`.

A record is read at once and understood only when its value is asked for, so that passing over it is cheap.
"""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import DEEPEST, EXCERPT, LONGEST, Flaw
from stillhouse.prompts.lines import Line, open_bytes, read_lines


class Record:
    """One record: the number of its (first) line or row, and how to understand what stands there."""

    __slots__ = ("_load", "line", "raw")

    def __init__(self, line: int, raw: Any, load: Callable[[Any], Any]) -> None:
        self.line, self.raw, self._load = line, raw, load

    def value(self) -> Any:
        """The record as plain values; raises `Flaw`."""
        return self._load(self.raw)

    def excerpt(self) -> str:
        """The beginning of the record as it stands in the file."""
        raw = self.raw
        if isinstance(raw, bytes):
            text = raw[: 4 * EXCERPT].decode("utf-8", "replace")
        elif isinstance(raw, str):
            text = raw
        else:
            text = json.dumps(raw, ensure_ascii=False, default=str)
        clean = text[: 2 * EXCERPT].encode("utf-8", "replace").decode()
        return clean.strip()[:EXCERPT]


def flawed(line: int, raw: Any, flaw: Flaw) -> Record:
    """A record that could not even be read."""

    def refuse(_: Any) -> Any:
        raise flaw

    return Record(line, raw, refuse)


def single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's keys and values, for `json.JSONDecoder`. Raises `Flaw` where a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for place, name in enumerate(names) if name in names[:place])
        raise Flaw("doubled_key", f"an object names {doubled!r:.100} twice")
    return found


_DECODE = json.JSONDecoder(object_pairs_hook=single_keys).decode


def parse_json(text: str | bytes) -> Any:
    """A JSON value, or a `Flaw`. NaN and infinities come through: whoever writes the value refuses them."""
    check_depth(text)
    try:
        return _DECODE(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError:
        raise Flaw("not_utf8", "not UTF-8") from None
    except (ValueError, RecursionError) as error:
        if (b"\0" if isinstance(text, bytes) else "\0") in text:
            raise nul_character() from None
        raise Flaw("not_json", f"not JSON ({error})") from None


def nul_character() -> Flaw:
    """What is wrong with a text that holds U+0000."""
    return Flaw("nul_character", "U+0000 in a text (is it UTF-16? convert to UTF-8)")


def check_depth(text: str | bytes) -> None:
    """Refuse what is nested too deep, before a parser is; brackets inside of texts do not count."""
    signs = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(text.count(sign) for sign in signs) > DEEPEST and _depth(text) > DEEPEST:
        raise Flaw("too_deep", f"not JSON that is read here: nested deeper than {DEEPEST} levels")


def _depth(text: str | bytes) -> int:
    """How deep brackets are nested in a JSON text, at most one more than is allowed."""
    depth = deepest = 0
    inside = skip = False
    for sign in text if isinstance(text, str) else text.decode("latin-1"):
        if skip:
            skip = False
        elif inside:
            inside, skip = sign != '"', sign == "\\"
        elif sign == '"':
            inside = True
        elif sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > DEEPEST:
                break
        elif sign in "]}":
            depth -= 1
    return deepest


def read_json_lines(file: Path) -> Iterator[Record]:
    """One JSON value a line; blank lines are passed over."""
    with open_bytes(file) as stream:
        for number, data, flaw in read_lines(stream):
            if flaw:
                yield flawed(number, data, flaw)
            elif data.strip():
                yield Record(number, data, parse_json)


def read_plain_lines(file: Path) -> Iterator[Record]:
    """One prompt a line; blank lines are passed over."""
    with open_bytes(file) as stream:
        for number, data, flaw in read_lines(stream):
            if flaw:
                yield flawed(number, data, flaw)
            elif data.strip():
                yield Record(number, data, _plain_prompt)


def _plain_prompt(data: bytes) -> dict[str, str]:
    try:
        return {"prompt": data.decode().strip()}
    except UnicodeDecodeError:
        raise Flaw("not_utf8", "not UTF-8") from None


class _TextLines:
    """Lines as a CSV reader takes them; unlike a generator it goes on after an error, and lines can be given back.

    Bytes that are no UTF-8 come as lone surrogates, so that the row they stand in can be told.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._lines, self._again = read_lines(stream), deque[Line]()
        self.row: list[Line] = []

    def __iter__(self) -> "_TextLines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.row.append(line)
        if line.flaw:
            raise line.flaw
        return line.data.decode("utf-8", "surrogateescape")

    def give_back(self) -> None:
        """Behind the first line of the row, what was read for it is read anew."""
        self._again.extendleft(reversed(self.row[1:]))


def read_csv(file: Path, delimiter: str) -> Iterator[Record]:
    """The rows of a table with a header; an empty cell is no value. Raises `InputError` for a header that is none."""
    csv.field_size_limit(LONGEST)
    with open_bytes(file) as stream:
        lines = _TextLines(stream)
        rows = _csv_rows(lines, delimiter)
        head = next(rows, None)
        if head is None:
            return
        header = _header(file, head)
        load = _loader(header)
        for number, row in rows:
            yield flawed(number, lines.row[0].data[:1000], row) if isinstance(row, Flaw) else Record(number, row, load)


def _csv_rows(lines: _TextLines, delimiter: str) -> Iterator[tuple[int, list[str] | Flaw]]:
    """Rows with the numbers of their first lines.

    A row that goes wrong takes its first line only: a quotation mark that nobody closes would swallow the file.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.row = []
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, Flaw) as error:
            yield lines.row[0].number, _row_flaw(lines.row, error)
            lines.give_back()
        else:
            if row:
                yield lines.row[0].number, row


def _row_flaw(row: list[Line], error: Exception) -> Flaw:
    """What is wrong with a row, of which the last line may be a line that cannot be read."""
    if row[0].flaw:
        return row[0].flaw
    if row[-1].flaw:
        return Flaw("bad_quotes", f"no row of a table (a cell goes on to line {row[-1].number}: {row[-1].flaw.text})")
    return Flaw("too_long" if "field limit" in str(error) else "bad_quotes", f"no row of a table ({error})")


def _header(file: Path, head: tuple[int, list[str] | Flaw]) -> list[str]:
    number, cells = head
    if isinstance(cells, Flaw):
        raise InputError(f"{file} line {number}: the header cannot be read: {cells.text}")
    names = [cell.strip() for cell in cells]
    _check_utf8(names, f"{file} line {number}: the header is not UTF-8")
    if "\0" in "".join(names):
        raise InputError(f"{file} line {number}: the header cannot be read: {nul_character().text}")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{file} line {number}: the header names {doubled[0]!r} twice")
    return names


def _check_utf8(cells: list[str], fault: str) -> None:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        raise InputError(fault) from None


def _loader(header: list[str]) -> Callable[[list[str]], dict[str, str]]:
    def load(cells: list[str]) -> dict[str, str]:
        try:
            "".join(cells).encode()
        except UnicodeEncodeError:
            raise Flaw("not_utf8", "not UTF-8") from None
        if len(cells) != len(header):
            raise Flaw("ragged_row", f"{len(cells)} cells, and the header has {len(header)}")
        return {name: cell for name, cell in zip(header, cells, strict=True) if cell}

    return load


def columns_of_csv(file: Path, delimiter: str) -> list[str] | None:
    """The header of a table, None where the file is empty. Raises `InputError`."""
    with open_bytes(file) as stream:
        head = next(_csv_rows(_TextLines(stream), delimiter), None)
    return None if head is None else _header(file, head)
