"""The file of a ledger's index: which files it covers, then a record a line, sorted, then a checksum of it all."""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from stillhouse.provenance.call_places import RECORD, Places, Run, spot_of
from stillhouse.provenance.files import atomic_path

MAGIC = b"calls\0\0\1"
"""The last byte is the version of the layout."""
LENGTH, CHECKSUM = struct.Struct(">Q"), struct.Struct(">I")
CHUNK = 2**20


@dataclass
class IndexedFile:
    """What is known of a file of the ledger.

    `size` (bytes) and `mtime` (nanoseconds) are those of the last look, `covered` the bytes whose lines were looked at,
    `guard` a digest of both ends of those, `left_out` how many lines among them cannot be trusted.
    """

    name: str
    size: int = 0
    mtime: int = -1
    covered: int = 0
    guard: str = ""
    left_out: int = 0


@dataclass(frozen=True)
class Loaded:
    """An index as its file holds it; records number the files from 0."""

    files: list[IndexedFile]
    run: Run


def save_index(store: Path, files: list[IndexedFile | None], places: Places) -> None:
    """Write an index atomically, without records of files that are None; raises `OSError`."""
    kept = sorted((file.name, number) for number, file in enumerate(files) if file is not None)
    renumbered = {number: place for place, (_, number) in enumerate(kept)}
    table = json.dumps([asdict(files[number]) for _, number in kept]).encode()
    with atomic_path(store) as temporary, open(temporary, "wb") as stream:
        checksum = 0
        for part in (MAGIC + LENGTH.pack(len(table)) + table, *_chunks(places, renumbered)):
            checksum = zlib.crc32(part, checksum)
            stream.write(part)
        stream.write(CHECKSUM.pack(checksum))


def _chunks(places: Places, renumbered: dict[int, int]) -> Iterator[bytes]:
    """Records under their new numbers of files, gathered."""
    same = all(old == new for old, new in renumbered.items())
    gathered = bytearray()
    for record in places.records():
        spot = spot_of(record)
        number = renumbered.get(spot.file)
        if number is None:
            continue
        gathered += record if same else RECORD.pack(record[:32], spot.time, number, spot.offset, spot.length)
        if len(gathered) >= CHUNK:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def load_index(store: Path) -> Loaded | None:
    """Map an index; None when there is none, or it is damaged, or of another layout."""
    try:
        with open(store, "rb") as stream:
            if not _sound(stream):
                return None
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        start = len(MAGIC) + LENGTH.size
        end = start + LENGTH.unpack(data[len(MAGIC) : start])[0]
        files = [IndexedFile(**entry) for entry in json.loads(data[start:end])]
        last = len(data) - CHECKSUM.size
        return Loaded(files, Run(data, end, last)) if (last - end) % RECORD.size == 0 else None
    except (OSError, ValueError, TypeError):
        return None


def _sound(stream: BinaryIO) -> bool:
    """Whether the checksum is that of the bytes before it; they are read, not mapped, to take no memory."""
    left, checksum = os.fstat(stream.fileno()).st_size - CHECKSUM.size, 0
    if left < len(MAGIC) + LENGTH.size or stream.read(len(MAGIC)) != MAGIC:
        return False
    stream.seek(0)
    while left > 0 and (part := stream.read(min(CHUNK, left))):
        checksum, left = zlib.crc32(part, checksum), left - len(part)
    return left == 0 and stream.read() == CHECKSUM.pack(checksum)
