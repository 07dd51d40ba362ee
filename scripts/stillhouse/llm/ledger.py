"""The append-only store of all calls: one JSON line a call, each checked by its own digest.

Every job writes a file of its own, so that jobs on many machines never share a writer; readers merge all
files. A line that a kill tore off is left out by readers and told by `scripts/ledger.py verify`. Where two lines answer
one request, the earlier one counts (at equal times the one in the first file by name).

What other jobs append while this one runs is seen when a call is missing here, after a look at the folder that is
taken every few seconds at most. Two jobs that ask the same within that time may both pay.
"""

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.llm.requests import Call, Completion, Request
from stillhouse.provenance.digests import canonical_json, digest_text
from stillhouse.provenance.ledger_index import LedgerIndex, Place
from stillhouse.provenance.ledger_lines import SUM_LENGTH, decode_answer, decode_line

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
"""Seconds between two looks at what other jobs appended."""
LOOK_SHARE = 50
"""A look that took long waits this many times as long for the next."""


@dataclass(frozen=True)
class Bill:
    """What a call took besides its answer; kept in the ledger only."""

    usd: float | None
    latency_s: float
    tries: int


def encode_line(request: Request, name: str, completion: Completion, bill: Bill, at: datetime | None = None) -> bytes:
    """One ledger line. `name` is the model's name in the study; `at` is when the answer came (default: now)."""
    call = {
        "request": request.payload(),
        "answer": {
            "text": completion.text,
            "reasoning": completion.reasoning,
            "finish_reason": completion.finish_reason,
            "flags": list(completion.flags),
        },
        "usage": {"prompt_tokens": completion.prompt_tokens, "completion_tokens": completion.completion_tokens},
        "usd": bill.usd,
        "latency_s": round(bill.latency_s, 4),
        "tries": bill.tries,
        "name": name,
        "served_model": completion.served_model,
        "at": (at or datetime.now(UTC)).isoformat(timespec="microseconds"),
    }
    body = canonical_json(call)
    return f'{{"digest":"{request.digest}","sum":"{digest_text(body)[:SUM_LENGTH]}","call":{body}}}\n'.encode(
        "utf-8", "surrogatepass"
    )


class Ledger:
    """The calls under one folder, read by all and appended to by this job.

    `writer` names this job (rule and wildcards) in the file name. Nothing is created before the first append. Raises
    `LedgerError` when a file cannot be read: its calls would be paid for again.
    """

    def __init__(self, folder: str | Path, writer: str = "manual") -> None:
        self.folder = Path(folder)
        self._writer = writer
        self._index = LedgerIndex(self.folder)
        self._handle: int | None = None
        self._file: Path | None = None
        self._size = 0
        self._next_look = time.monotonic() + LOOK_EVERY_S

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, digest: str) -> bool:
        return digest in self._index

    def __iter__(self) -> Iterator[str]:
        """Digests in order; what is appended meanwhile may be missing."""
        return (digest for digest, _ in self._index.groups())

    def entry(self, digest: str) -> dict[str, Any]:
        """The whole call with this digest; raises `KeyError` when there is none."""
        found = self._index.fetch(digest, decode_line)
        if found is None:
            raise KeyError(digest)
        return found[0]

    def place(self, digest: str) -> Place:
        """File and position of a call; raises `KeyError` when there is none."""
        place = self._index.place(digest)
        if place is None:
            raise KeyError(digest)
        return place

    def get(self, digest: str) -> Call | None:
        """The call with this digest as already answered, by this job or another, or None.

        Raises `LedgerError` when the line that answered it was changed or lost since it was indexed.
        """
        found = self._index.fetch(digest, decode_answer)
        if found is None and self._look_again():
            found = self._index.fetch(digest, decode_answer)
        if found is None:
            return None
        call = found[0]
        answer, usage = call["answer"], call["usage"]
        return Call(
            digest=digest,
            text=answer["text"],
            finish_reason=answer["finish_reason"],
            reasoning=answer["reasoning"],
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
            usd=call["usd"],
            replayed=True,
            served_model=call["served_model"],
        )

    def _look_again(self) -> bool:
        """Whether other jobs appended something, as far as a look is due."""
        begun = time.monotonic()
        if begun < self._next_look:
            return False
        changed = self._refresh()
        ended = time.monotonic()
        self._next_look = ended + max(LOOK_EVERY_S, LOOK_SHARE * (ended - begun))
        return changed

    def _refresh(self) -> bool:
        try:
            return self._index.refresh()
        except LedgerError as error:  # a job that runs has what it began with; the next that opens the ledger stops
            logger.warning("%s", error)
            return False

    def append(self, request: Request, name: str, completion: Completion, bill: Bill) -> None:
        """Write one answered call; when this returns, a kill of this process cannot lose it."""
        at = datetime.now(UTC)
        line = encode_line(request, name, completion, bill, at)
        handle = self._open()
        try:
            written = os.write(handle, line)
        except OSError as error:
            raise LedgerError(f"{self._file}: {error.strerror}") from error
        if written != len(line):
            self._end_file()  # the next call begins a file of its own, not behind half a line
            raise LedgerError(f"{self._file}: wrote {written} of {len(line)} bytes; is the disk full?")
        self._index.add(request.digest, at, self._size, len(line))
        self._size += len(line)

    def _open(self) -> int:
        if self._handle is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = self.folder / f"{self._writer}-{secrets.token_hex(4)}.jsonl"
                self._handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except OSError as error:
                raise LedgerError(f"{self._file or self.folder}: {error.strerror}") from error
            _hold(self._handle)
            self._index.begin(self._file.name)
            self._size = 0
        return self._handle

    def _end_file(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
                self._index.end()

    def close(self) -> None:
        """Flush to the disk and close this job's file, and index what it holds when that is much."""
        if self._handle is not None:
            self._end_file()
            self._refresh()
            self._index.keep()


def _hold(handle: int) -> None:
    """Lock this job's file for as long as the job lives, by which `scripts/ledger.py compact` knows that it does."""
    with suppress(OSError):  # a file system without locks: Snakemake's own lock has to do
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
