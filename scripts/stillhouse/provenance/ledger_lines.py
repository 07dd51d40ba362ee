"""How a line of the ledger reads, and when it can be trusted. What the calls mean is no matter here.

A line is `{"digest":"…","sum":"…","call":{…}}`: canonical JSON with the sha256 of the request, the first hex digits of
the sha256 of the call's own bytes, and the call. Both sums are taken over bytes as they stand in the line, so a line can
be checked without parsing it. A line that says the same in another spelling is read by the slower way.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import canonical_json, digest_json, digest_text

SUM_LENGTH = 16
OPENING = b'{"digest":"'
"""Every line begins with these bytes and the 64 hex digits of the call's digest."""
_DIGEST = slice(len(OPENING), len(OPENING) + 64)
_BEFORE_SUM, _BEFORE_CALL, _END = b'","sum":"', b'","call":', b"}}\n"
_SUM = slice(_DIGEST.stop + len(_BEFORE_SUM), _DIGEST.stop + len(_BEFORE_SUM) + SUM_LENGTH)
_CALL = _SUM.stop + len(_BEFORE_CALL)
_REQUEST, _AFTER_REQUEST, _AT = b',"request":', b',"served_model":', b',"at":"'
"""Keys of a call. A quote inside a JSON text is escaped, so these bytes never stand in anybody's words."""
CHUNK = 2**20
"""Bytes that are read at once when a file is scanned."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Which call a sound line answers, and when the answer came (as the line writes the time)."""

    digest: str
    at: str


def lines_from(file: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (offset in bytes, line) of a ledger file from the byte `start` on; raises `OSError`."""
    offset = start
    with open(file, "rb", buffering=CHUNK) as stream:
        stream.seek(start)
        for line in stream:
            yield offset, line
            offset += len(line)


def scan_file(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number from 1, offset in bytes, line) of a ledger file; raises `OSError`."""
    for number, (offset, line) in enumerate(lines_from(file), start=1):
        yield number, offset, line


def _request_span(line: bytes) -> tuple[int, int] | None:
    """Where the request stands in a line that is byte for byte as it was written; None for any other line."""
    if not (line.startswith(OPENING) and line.endswith(_END)):
        return None
    if line[_DIGEST.stop : _SUM.start] != _BEFORE_SUM or line[_SUM.stop : _CALL] != _BEFORE_CALL:
        return None
    start, end = line.find(_REQUEST, _CALL) + len(_REQUEST), line.rfind(_AFTER_REQUEST)
    if sha256(line[_CALL:-2]).hexdigest()[:SUM_LENGTH].encode() != line[_SUM]:
        return None
    return (start, end) if sha256(line[start:end]).hexdigest().encode() == line[_DIGEST] else None


def check_line(line: bytes) -> Mark:
    """What a line answers, the line being to the byte as the ledger wrote it; raises `ValueError` with the reason.

    JSON has several spellings for one value (`1e-05` and `1E-05` are one bit apart), so a sum over values, as
    `decode_line` takes it where the bytes do not fit, does not see every changed byte.
    """
    span = _request_span(line)
    if span is None:
        _decode_values(line)
        raise ValueError("the bytes are not those that the ledger writes: the line was changed after it was written")
    return Mark(line[_DIGEST].decode(), _time_in(line, span[0]))


def mark_line(line: bytes) -> Mark:
    """What a line answers; raises `ValueError` with the reason when it cannot be trusted."""
    span = _request_span(line)
    if span is not None:
        return Mark(line[_DIGEST].decode(), _time_in(line, span[0]))
    digest, call = _decode_values(line)
    return Mark(digest, str(call.get("at")))


def _time_in(line: bytes, end: int) -> str:
    start = line.find(_AT, _CALL, end) + len(_AT)
    return line[start : line.find(b'"', start)].decode("utf-8", "replace") if start >= len(_AT) else ""


def decode_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """The digest and the call of a line; raises `ValueError` with the reason when it cannot be trusted."""
    if _request_span(line) is None:
        return _decode_values(line)
    return line[_DIGEST].decode(), _parse(line[_CALL:-2])


def decode_answer(line: bytes) -> tuple[str, dict[str, Any]]:
    """Like `decode_line`, but the call may come without its request, which is the greater part of most lines."""
    span = _request_span(line)
    if span is None:
        return _decode_values(line)
    return line[_DIGEST].decode(), _parse(line[_CALL : span[0] - len(_REQUEST)] + line[span[1] : -2])


def _parse(body: bytes) -> dict[str, Any]:
    try:
        return json.loads(body.decode("utf-8", "surrogatepass"))
    except RecursionError as error:
        raise ValueError("not a ledger entry") from error


def _decode_values(line: bytes) -> tuple[str, dict[str, Any]]:
    """Read a line by its values, whatever their spelling."""
    if not line.endswith(b"\n"):
        raise ValueError("torn line (no newline at its end)")
    try:
        entry = json.loads(line)
        digest, checksum, call = entry["digest"], entry["sum"], entry["call"]
        body, request = canonical_json(call), call["request"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a ledger entry") from error
    if digest_text(body)[:SUM_LENGTH] != checksum:
        raise ValueError("checksum differs: the line was changed after it was written")
    if digest_json(request) != digest:
        raise ValueError("digest is not that of the request in the line")
    return digest, call


def is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of an entry that a kill or a power cut ended, rather than a changed one.

    A kill leaves less than the entry and its newline. A power cut may leave zero bytes where the rest should stand. An
    entry that is whole and has another byte behind it was changed.
    """
    if line.endswith(b"\n"):
        return False
    cut = line.rstrip(b"\0")
    text = cut.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return True
    return end == len(text) and len(cut) == len(line)
