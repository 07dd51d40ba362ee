"""Thrift's compact protocol, as far as a parquet footer has it: bytes to nested fields and back to the same bytes.

Of the specification (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md). A struct is a `Struct`: by field
id its type and its value. Numbers are Python's, text and binary are bytes, a list has the type of its elements beside.
"""

from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_NUMBERS = (I16, I32, I64)
_LONG = 15
"""Size in a list's first byte that says: the size follows."""

Struct = dict[int, tuple[int, Any]]


def read_struct(data: bytes) -> Struct:
    """The struct that `data` begins with; raises `ValueError` or `IndexError` where it is none."""
    return _Reader(data).struct()


def write_struct(fields: Struct) -> bytes:
    """The bytes of a struct, fields in the order of their ids."""
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._number()
            fields[number] = (kind, self._value(kind))
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind in _NUMBERS:
            return self._number()
        if kind == BINARY:
            return self._bytes(self._unsigned())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            return self._list()
        if kind in (BYTE, DOUBLE):
            return self._bytes(1 if kind == BYTE else 8)
        raise ValueError(f"type {kind} does not occur in the footer of a parquet file")

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        size = self._unsigned() if size == _LONG else size
        if kind in (TRUE, FALSE):  # in a list they take a byte each
            return kind, [self._byte() for _ in range(size)]
        return kind, [self._value(kind) for _ in range(size)]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("the footer ends too early")
        return self._data[self._at - size : self._at]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)


def _write_struct(out: bytearray, fields: Struct) -> None:
    last = 0
    for number, (kind, value) in sorted(fields.items()):
        told = (FALSE, TRUE)[value] if kind in (TRUE, FALSE) else kind
        if 0 < number - last < _LONG + 1:
            out.append((number - last) << 4 | told)
        else:
            out.append(told)
            _write_number(out, number)
        if kind not in (TRUE, FALSE):
            _write_value(out, kind, value)
        last = number
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in _NUMBERS:
        _write_number(out, value)
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        _write_list(out, *value)
    else:
        if kind == BINARY:
            _write_unsigned(out, len(value))
        out += value


def _write_list(out: bytearray, kind: int, values: list[Any]) -> None:
    if len(values) < _LONG:
        out.append(len(values) << 4 | kind)
    else:
        out.append(_LONG << 4 | kind)
        _write_unsigned(out, len(values))
    if kind in (TRUE, FALSE):
        out += bytes(values)
        return
    for value in values:
        _write_value(out, kind, value)


def _write_unsigned(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_number(out: bytearray, value: int) -> None:
    _write_unsigned(out, value << 1 if value >= 0 else (-value << 1) - 1)
