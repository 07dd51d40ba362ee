"""Reads the lines of plain or gzipped files in bounded memory, whatever the file holds."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import LONGEST, Flaw

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""Of encodings in which a line feed is no line's end; the longer ones begin as the shorter do, so they come first."""
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a broken gzip file raises."""


class Line(NamedTuple):
    """One line with its end, or what is wrong with it (`data` is then its beginning)."""

    number: int
    data: bytes
    flaw: Flaw | None = None


def is_packed(file: Path) -> bool:
    """Whether a file begins as gzip does, whatever its name. Raises `InputError` where it cannot be opened."""
    try:
        with open(file, "rb") as stream:
            return stream.read(len(GZIP)) == GZIP
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error


@contextmanager
def open_bytes(file: Path) -> Iterator[BufferedIOBase]:
    """The bytes of a file, unpacked where they are packed. Raises `InputError`."""
    with gzip.open(file, "rb") if is_packed(file) else open(file, "rb") as stream:
        yield stream


def damaged(error: BaseException) -> Flaw:
    """The flaw of a file that cannot be read on."""
    return Flaw("damaged_file", f"the file breaks off or is damaged here ({error})")


def read_lines(stream: BufferedIOBase) -> Iterator[Line]:
    """The lines of a stream; of one that is too long only the beginning is kept, and a damaged end is the last line.

    A stream of another encoding is one line.
    """
    number = 0
    while True:
        number += 1
        try:
            data = stream.readline(LONGEST + 1)
            if len(data) > LONGEST:
                _skip_line(stream, data)
                flaw = Flaw("too_long", f"a line of more than {LONGEST:,} bytes")
                yield Line(number, data[:1000], flaw)
                continue
        except DAMAGED as error:
            yield Line(number, b"", damaged(error))
            return
        if not data:
            return
        if number > 1:
            yield Line(number, data)
        elif encoding := next((name for mark, name in _OTHER_MARKS.items() if data.startswith(mark)), None):
            yield Line(number, data[:1000], Flaw("not_utf8", f"{encoding}; convert to UTF-8"))
            return
        else:
            yield Line(number, data.removeprefix(BYTE_ORDER_MARK))


def _skip_line(stream: BufferedIOBase, data: bytes) -> None:
    while data and not data.endswith(b"\n"):
        data = stream.readline(LONGEST)


def read_block(stream: BufferedIOBase, size: int) -> bytes:
    """Up to `size` bytes, all that is sound before a damaged place; raises one of `DAMAGED` where nothing is."""
    found = bytearray()
    while len(found) < size:
        try:
            block = stream.read1(size - len(found))
        except DAMAGED:
            if not found:
                raise
            break
        if not block:
            break
        found += block
    return bytes(found)
