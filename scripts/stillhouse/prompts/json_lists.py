"""Reads a JSON list element by element, in memory that a single element bounds."""

import codecs
import json
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from pathlib import Path

from stillhouse.prompts.flaws import DEEPEST, LONGEST, Flaw
from stillhouse.prompts.lines import BYTE_ORDER_MARK, DAMAGED, damaged, open_bytes, read_block
from stillhouse.prompts.records import Record, check_depth, flawed, read_json_lines, single_keys

BLOCK = 1 << 20
SPACES = " \t\r\n"
LONGEST_SIGN = 16
"""More characters than any sign of JSON has but a text or a number: `-Infinity`, `\\ud83d\\ude00`."""


def read_json(file: Path) -> Iterator[Record]:
    """The elements of a JSON list; a file that does not begin with `[` holds JSON lines.

    Behind an element that cannot be read nobody knows where the next one begins: it is the last record.
    """
    with open_bytes(file) as stream:
        if not _begins_as_list(stream):
            yield from read_json_lines(file)
            return
    with open_bytes(file) as stream:
        text = _Text(stream)
        try:
            yield from _elements(text)
        except Flaw as flaw:
            yield flawed(text.line, text.rest(), flaw)


def _begins_as_list(stream: BufferedIOBase) -> bool:
    try:
        start = read_block(stream, BLOCK)
    except DAMAGED:
        return False
    return start.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"["


class _Text:
    """A window on a stream of text: what is read and not yet used, and the number of the line that it begins in."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream, self._decode = stream, codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._text, self._place = "", 0
        self.line, self.ended = 1, False

    def more(self) -> None:
        """Read on, as much again as there is."""
        try:
            block = read_block(self._stream, max(BLOCK, len(self._text) - self._place))
            self._text = self._text[self._place :] + self._decode(block, final=not block)
        except DAMAGED as error:
            raise damaged(error) from None
        self._place, self.ended = 0, not block

    def next_sign(self) -> str:
        """The next sign that is no space, "" at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in SPACES:
                self.line += self._text[self._place] == "\n"
                self._place += 1
            if self._place < len(self._text) or self.ended:
                return self._text[self._place : self._place + 1]
            self.more()

    def take(self) -> None:
        """Use one sign."""
        self._place += 1

    def element(self) -> Record:
        """Use one JSON value."""
        while True:
            try:
                value, end = _scan(self._text, self._place)
                if end < len(self._text) or self.ended:
                    break
            except ValueError as error:
                if self.ended or not _may_go_on(error, self._text):
                    raise Flaw("not_json", f"not JSON ({error}); the list cannot be read on") from None
            if len(self._text) - self._place > LONGEST:
                raise Flaw("too_long", f"an element of more than {LONGEST:,} characters, or one that does not end")
            self.more()
        raw, line = self._text[self._place : end], self.line
        self._place, self.line = end, line + raw.count("\n")
        return flawed(line, raw, value) if isinstance(value, Flaw) else Record(line, raw, partial(_checked, value))

    def rest(self) -> str:
        """The beginning of what is not used."""
        return self._text[self._place : self._place + 1000]


_DECODER, _LENIENT = json.JSONDecoder(object_pairs_hook=single_keys), json.JSONDecoder(strict=False)


def _may_go_on(error: ValueError, text: str) -> bool:
    """Whether more text could mend what is wrong: a text without its end, or a sign that the window cuts off."""
    if not isinstance(error, json.JSONDecodeError):  # a number of too many digits
        return False
    return error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip()) - LONGEST_SIGN


def _scan(text: str, place: int) -> tuple[object, int]:
    """A JSON value, or what is wrong with it, and where it ends.

    Raises ValueError where that cannot be told, `Flaw` where it is nested too deep.
    """
    try:
        return _DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Invalid control character"):
            raise
        _, end = _LENIENT.raw_decode(text, place)
        return Flaw("not_json", f"not JSON ({error.msg} within a text)"), end
    except Flaw as flaw:
        _, end = _LENIENT.raw_decode(text, place)
        return flaw, end
    except RecursionError:
        raise Flaw("too_deep", f"nested deeper than {DEEPEST} levels; the list cannot be read on") from None


def _checked(value: object, text: str) -> object:
    """An element that was understood to find its end, unless something is wrong with it."""
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 came as lone surrogates, so that the list can be read on
        raise Flaw("not_utf8", "not UTF-8") from None
    check_depth(text)
    return value


def _elements(text: _Text) -> Iterator[Record]:
    text.next_sign()
    text.take()  # the opening bracket
    if text.next_sign() == "]":
        text.take()
    else:
        yield text.element()
        while text.next_sign() == ",":
            text.take()
            text.next_sign()
            yield text.element()
        if text.next_sign() != "]":
            raise Flaw("not_json", "not JSON: expected a comma or the end of the list")
        text.take()
    if text.next_sign():
        raise Flaw("not_json", "not JSON: the list has ended, and more follows")
