"""What text a file holds, whatever kind of file it is: parquet, JSON, JSON lines, HTML, plain text or anything else."""

import base64
import gzip
import html
import json
import mmap
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from stillhouse.prompts.needles import SHORT, Evidence, Needles

PARQUET = b"PAR1"
BATCH = 2_000

LABELS = frozenset(
    [
        "prompt_id",
        "set",
        "id",
        "category",
        "difficulty",
        "generation",
        "method",
        "winners",
        "calls",
        "answer_call",
        "role",
        "subject",
        "condition",
        "finish_reason",
        "stage",
        "judge",
        "status",
        "order",
        "verdict",
        "first",
        "second",
        "matched",
        "chosen_candidate",
        "rejected_candidate",
    ]
)
"""Columns that hold names; a short text is not looked for in them."""

_TAG = re.compile(r"<[^>]*>")
_CODE_POINT = re.compile(r"\\u([0-9a-fA-F]{4})")
_PACKED = re.compile(r"H4sI[A-Za-z0-9+/]{20,}={0,2}")
_ESCAPE = re.compile(r"\\[nrtbf]")


def is_parquet(file: Path) -> bool:
    """Whether a file begins as parquet files do, whatever its name is (those of the store have none)."""
    with open(file, "rb") as stream:
        return stream.read(len(PARQUET)) == PARQUET


@contextmanager
def open_parquet(file: Path) -> Iterator[Any]:
    """A parquet file to read from; raises `InputError` when it is damaged: what cannot be read proves nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read as parquet; build it again or remove it ({error})") from error


def search_file(file: Path, needles: Needles, evidence: Evidence) -> None:
    """Enter into `evidence` what of `needles` is in `file`."""
    if is_parquet(file):
        _search_parquet(file, needles, evidence)
        return
    text = _text(file)
    if text is None:
        _search_bytes(file, needles, evidence)
        return
    for packed in _packed(text):
        needles.search([leaf for value in _json_values(packed) or [packed] for leaf in leaves(value)], evidence)
    values = _json_values(text)
    if values is None:
        for cells in _readings(text):
            needles.search(cells, evidence)
    else:
        needles.search([leaf for value in values for leaf in leaves(value)], evidence)


def _search_parquet(file: Path, needles: Needles, evidence: Evidence) -> None:
    with open_parquet(file) as parquet:
        needles.search(_metadata(parquet), evidence)
        for batch in parquet.iter_batches(batch_size=BATCH):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                cells = [leaf for value in column.to_pylist() for leaf in leaves(value)]
                needles.search(cells, evidence, labels=name in LABELS)


def _metadata(parquet: Any) -> list[str]:
    """The texts that a parquet file carries beside its columns."""
    found = parquet.schema_arrow.metadata or {}
    return [part.decode("utf-8", "replace") for pair in found.items() for part in pair]


def leaves(value: Any) -> Iterator[str]:
    """Every text in nested values, keys too; a text that is JSON itself is opened besides."""
    if isinstance(value, str):
        yield value
        yield from leaves(_opened(value))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(key)
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")


def _opened(text: str) -> dict | list | None:
    if text[:1] not in ("{", "["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _text(file: Path) -> str | None:
    """The file as text, None where it is none."""
    with open(file, "rb") as stream:
        start = stream.read(1 << 16)
        if b"\0" in start:
            return None
        try:
            return (start + stream.read()).decode("utf-8")
        except UnicodeDecodeError:
            return None


def _packed(text: str) -> Iterator[str]:
    """What lies in a text as gzip in base64, as the rows of a report's page do."""
    for block in _PACKED.findall(text):
        try:
            yield gzip.decompress(base64.b64decode(block)).decode("utf-8", "replace")
        except (ValueError, OSError, EOFError, zlib.error):
            continue  # it only looked like one


def _json_values(text: str) -> list[Any] | None:
    """The JSON documents of a text (one, or one a line), None where it is something else."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    for documents in ([text], [line for line in text.split("\n") if line.strip()]):
        try:
            return [json.loads(document) for document in documents]
        except (ValueError, RecursionError):
            continue
    return None


def _readings(text: str) -> Iterator[list[str]]:
    """A text as it is, without its markup, and with the escapes of scripts undone; each whole and line by line."""
    found = [text]
    if "<" in text or "&" in text:
        found += [html.unescape(_TAG.sub("", text)), html.unescape(_TAG.sub("\n", text))]
    if "\\" in text:
        undone = _CODE_POINT.sub(lambda match: chr(int(match[1], 16)), text)
        found.append(html.unescape(_ESCAPE.sub(" ", undone)))
    for reading in dict.fromkeys(found):
        yield [reading, *(part for line in reading.split("\n") for part in (line, *line.split("|")))]


def _search_bytes(file: Path, needles: Needles, evidence: Evidence) -> None:
    """Long texts as they are; what looks like weights is not read otherwise."""
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for key, needle in needles.long.items():
            written = needle.text.strip().encode("utf-8", "surrogatepass")
            if len(written) >= SHORT and content.find(written) >= 0:
                evidence.add(needle, key)
