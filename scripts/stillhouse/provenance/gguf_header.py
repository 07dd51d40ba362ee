"""Reads what a GGUF file says of itself, without its tensors and without the token lists.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3).
"""

import mmap
import struct
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError

MAGIC = b"GGUF"
BUILD_KEY = "stillhouse.build_key"
FILE_TYPE = "general.file_type"

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_VERSIONS = (2, 3)
_MOST_PAIRS = 100_000


def is_gguf(file: Path) -> bool:
    """Whether a file begins as GGUF files do; False for what cannot be read."""
    try:
        with open(file, "rb") as stream:
            return stream.read(4) == MAGIC
    except OSError:
        return False


def read_gguf_header(file: Path) -> dict[str, Any]:
    """The texts and numbers of a GGUF's metadata by key; lists are left out.

    Raises `RecordError` when the file is no GGUF, is cut off, or has an unknown version or byte order.
    """
    try:
        with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).metadata()
    except struct.error as error:
        raise RecordError(f"{file}: no readable GGUF header (it is cut off)") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordError(f"{file}: no readable GGUF header ({reason})") from error


class _Reader:
    """Walks over the header; every step raises `ValueError` or `struct.error` at the end of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place = data, 0

    def metadata(self) -> dict[str, Any]:
        if self.data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self.place = 4
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version} or byte order not known")
        self._scalar("Q")  # the number of tensors
        pairs = self._scalar("Q")
        if pairs > _MOST_PAIRS:
            raise ValueError(f"{pairs} metadata entries cannot be")
        found = {}
        for _ in range(pairs):
            key = self._text()
            value = self._value(self._scalar("I"))
            if value is not None:
                found[key] = value
        return found

    def _scalar(self, kind: str) -> Any:
        value = struct.unpack_from(f"<{kind}", self.data, self.place)[0]
        self.place += struct.calcsize(f"<{kind}")
        return value

    def _text(self) -> str:
        length = self._scalar("Q")
        self._skip(length)
        return self.data[self.place - length : self.place].decode("utf-8", "replace")

    def _skip(self, length: int) -> None:
        if length > len(self.data) - self.place:
            raise ValueError("the header is cut off")
        self.place += length

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind not in _SCALARS:
            raise ValueError(f"value type {kind} not known")
        return self._scalar(_SCALARS[kind])

    def _skip_array(self) -> None:
        kind, length = self._scalar("I"), self._scalar("Q")
        if kind in _SCALARS:
            self._skip(length * struct.calcsize(f"<{_SCALARS[kind]}"))
        elif kind == _STRING:
            self._skip_texts(length)
        else:
            raise ValueError(f"list of type {kind} not known")

    def _skip_texts(self, count: int) -> None:
        """Token lists have hundreds of thousands of entries: a tight loop over their lengths."""
        unpack, data, place, end = struct.Struct("<Q").unpack_from, self.data, self.place, len(self.data)
        for _ in range(count):
            place += 8 + unpack(data, place)[0]
            if place > end:
                raise ValueError("the header is cut off")
        self.place = place
