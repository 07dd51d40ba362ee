"""How a line of the ledger reads, and when it can be trusted. What the calls mean is no matter here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import canonical_json, digest_json, digest_text

SUM_LENGTH = 16
OPENING = b'{"digest":"'
"""Every line begins with these bytes and the 64 hex digits of the call's digest."""


def scan_file(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number from 1, offset in bytes, line) of a ledger file; raises `OSError`."""
    offset = 0
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            yield number, offset, line
            offset += len(line)


def decode_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """The digest and the call of a line; raises `ValueError` with the reason when it cannot be trusted."""
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


def check_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """Like `decode_line`, and the bytes must be those that the ledger writes.

    JSON has several spellings for one value (`1e-05` and `1E-05` are one bit apart), so a checksum over values
    does not see every changed byte.
    """
    digest, call = decode_line(line)
    body = canonical_json(call)
    whole = f'{{"digest":"{digest}","sum":"{digest_text(body)[:SUM_LENGTH]}","call":{body}}}\n'
    if whole.encode("utf-8", "surrogatepass") != line:
        raise ValueError("the bytes are not those that the ledger writes: the line was changed after it was written")
    return digest, call


def is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of an entry that a kill cut off, rather than a changed one.

    A kill leaves less than the entry and its newline. An entry that is whole and has another byte behind it
    was changed.
    """
    if line.endswith(b"\n"):
        return False
    text = line.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return True
    return end == len(text)
