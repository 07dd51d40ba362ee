"""Where calls stand in a ledger: fixed-length records in the order of their digests, in memory or mapped from a file.

A call takes 56 bytes. New ones are gathered in a dict; a full dict becomes a sorted run, and runs of like size are
merged, so that a million calls stand in a few runs (a log-structured merge tree, O'Neil et al. 1996).
"""

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from mmap import mmap

RECORD = struct.Struct(">32sQIQI")
"""Digest, time in microseconds since 1970, number of the file, offset and length of the line in bytes."""
DIGEST = 32
FRESH = 2**15
"""Calls that are gathered before they are sorted."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One line that answers a call: time in microseconds since 1970, number of its file, offset and length in bytes."""

    time: int
    file: int
    offset: int
    length: int


def spot_of(record: bytes) -> Spot:
    """What a record says beside its digest."""
    return Spot(*RECORD.unpack(record)[1:])


class Run:
    """Sorted records between two positions of `data`."""

    def __init__(self, data: bytes | mmap, start: int = 0, end: int | None = None) -> None:
        self._data, self._start = data, start
        self._numbers = range(((len(data) if end is None else end) - start) // RECORD.size)

    def __len__(self) -> int:
        return len(self._numbers)

    def _digest(self, number: int) -> bytes:
        at = self._start + number * RECORD.size
        return self._data[at : at + DIGEST]

    def _place(self, digest: bytes) -> int:
        """Number of the first record whose digest is not below `digest`, which may be a beginning of one."""
        return bisect_left(self._numbers, digest, key=self._digest)

    def find(self, digest: bytes) -> list[bytes]:
        """Every record of a call."""
        number, found = self._place(digest), []
        while number < len(self._numbers) and self._digest(number) == digest:
            at = self._start + number * RECORD.size
            found.append(self._data[at : at + RECORD.size])
            number += 1
        return found

    def between(self, low: bytes, high: bytes | None) -> list[bytes]:
        """Records whose digest is at least `low` and below `high`, both beginnings of digests; None is no bound."""
        first = self._place(low)
        last = len(self) if high is None else self._place(high)
        starts = range(self._start + first * RECORD.size, self._start + last * RECORD.size, RECORD.size)
        return [self._data[at : at + RECORD.size] for at in starts]


class Places:
    """All records; `base` are those that a file holds."""

    def __init__(self, base: Run | None = None) -> None:
        self._base = [base] if base else []
        self._runs: list[Run] = []
        self._fresh: dict[bytes, bytes] = {}

    def add(self, digest: bytes, spot: Spot) -> None:
        """Enter one line; several may answer one call."""
        record = RECORD.pack(digest, spot.time, spot.file, spot.offset, spot.length)
        self._fresh[digest] = self._fresh.get(digest, b"") + record
        if len(self._fresh) >= FRESH:
            self._settle()

    def _sorted_fresh(self) -> Run:
        return Run(b"".join(self._fresh[digest] for digest in sorted(self._fresh)))

    def _settle(self) -> None:
        self._runs.append(self._sorted_fresh())
        self._fresh = {}
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            pair = [self._runs.pop(), self._runs.pop()]
            data = mmap(-1, sum(len(run) for run in pair) * RECORD.size)  # goes back to the system when it is merged
            for records in _merged(pair):
                data.write(b"".join(records))
            self._runs.append(Run(data))

    def find(self, digest: bytes) -> list[Spot]:
        """Every line that answers a call, in no order."""
        found = []
        for run in (*self._base, *self._runs):
            found += run.find(digest)
        fresh = self._fresh.get(digest, b"")
        found += [fresh[at : at + RECORD.size] for at in range(0, len(fresh), RECORD.size)]
        return [spot_of(record) for record in found]

    def records(self, low: bytes = b"", high: bytes | None = None) -> Iterator[bytes]:
        """All records in order, or those between two beginnings of digests; do not add while this runs."""
        for records in _merged([*self._base, *self._runs, self._sorted_fresh()], low, high):
            yield from records

    def groups(self, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, list[Spot]]]:
        """(digest, every line that answers it), likewise."""
        for digest, records in groupby(self.records(low, high), key=lambda record: record[:DIGEST]):
            yield digest, [spot_of(record) for record in records]


def _merged(runs: list[Run], low: bytes = b"", high: bytes | None = None) -> Iterator[list[bytes]]:
    """Sorted records of all runs, a 256th of all digests at a time, so that few are in memory."""
    for number in range(256):
        first, after = bytes([number]), bytes([number + 1]) if number < 255 else None
        if (after is not None and after <= low) or (high is not None and first >= high):
            continue
        bottom, top = max(first, low), min((bound for bound in (after, high) if bound is not None), default=None)
        yield sorted(record for run in runs for record in run.between(bottom, top))
