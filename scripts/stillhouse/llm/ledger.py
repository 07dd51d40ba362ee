"""The append-only store of all calls: one JSON line a call, each checked by its own digest.

Every job writes a file of its own, so that jobs on many machines never share a writer; readers merge all
files. A line that a kill tore off is left out by readers and told by `verify`. Where two lines answer one
request, the earlier one counts.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.llm.requests import Call, Completion, Request
from stillhouse.provenance.digests import canonical_json, digest_text
from stillhouse.provenance.ledger_lines import SUM_LENGTH, decode_line, scan_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a call's line lies."""

    file: Path
    offset: int
    length: int


@dataclass(frozen=True)
class Fault:
    """A line that cannot be trusted."""

    file: Path
    line: int
    reason: str


@dataclass(frozen=True)
class Bill:
    """What a call took besides its answer; kept in the ledger only."""

    usd: float | None
    latency_s: float
    tries: int


def encode_line(request: Request, name: str, completion: Completion, bill: Bill) -> bytes:
    """One ledger line. `name` is the model's name in the study; times are UTC."""
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
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    body = canonical_json(call)
    return f'{{"digest":"{request.digest}","sum":"{digest_text(body)[:SUM_LENGTH]}","call":{body}}}\n'.encode(
        "utf-8", "surrogatepass"
    )


class Ledger:
    """The calls under one folder, read by all and appended to by this job.

    `writer` names this job (rule and wildcards) in the file name. Nothing is created before the first append.
    """

    def __init__(self, folder: str | Path, writer: str = "manual") -> None:
        self.folder = Path(folder)
        self._writer = writer
        self._places: dict[str, Place] = {}
        self._handle: int | None = None
        self._file: Path | None = None
        self._size = 0
        self._load()

    def _load(self) -> None:
        for file in sorted(self.folder.glob("*.jsonl")):
            for number, offset, line in scan_file(file):
                try:
                    digest, call = decode_line(line)
                except ValueError as error:
                    logger.warning("%s line %d left out: %s", file, number, error)
                    continue
                self._keep_earliest(digest, call["at"], Place(file, offset, len(line)))

    def _keep_earliest(self, digest: str, at: str, place: Place) -> None:
        known = self._places.get(digest)
        if known is None or at < self._read(known)["at"]:
            self._places[digest] = place

    def _read(self, place: Place) -> dict[str, Any]:
        with open(place.file, "rb") as stream:
            stream.seek(place.offset)
            line = stream.read(place.length)
        try:
            return decode_line(line)[1]
        except ValueError as error:
            raise LedgerError(f"{place.file} at byte {place.offset}: {error}") from error

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def entry(self, digest: str) -> dict[str, Any]:
        """The whole call with this digest; raises `KeyError` when there is none."""
        return self._read(self._places[digest])

    def place(self, digest: str) -> Place:
        """File and position of a call; raises `KeyError` when there is none."""
        return self._places[digest]

    def get(self, digest: str) -> Call | None:
        """The call with this digest as already answered, or None."""
        if digest not in self._places:
            return None
        call = self.entry(digest)
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

    def append(self, request: Request, name: str, completion: Completion, bill: Bill) -> None:
        """Write one answered call; when this returns, a kill of this process cannot lose it."""
        line = encode_line(request, name, completion, bill)
        handle = self._open()
        try:
            written = os.write(handle, line)
        except OSError as error:
            raise LedgerError(f"{self._file}: {error.strerror}") from error
        if written != len(line):
            self.close()  # the next call begins a file of its own, not behind half a line
            raise LedgerError(f"{self._file}: wrote {written} of {len(line)} bytes; is the disk full?")
        self._places.setdefault(request.digest, Place(self._file, self._size, len(line)))
        self._size += len(line)

    def _open(self) -> int:
        if self._handle is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self.folder / f"{self._writer}-{secrets.token_hex(4)}.jsonl"
            self._handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            self._size = 0
        return self._handle

    def close(self) -> None:
        """Flush to the disk and close this job's file."""
        if self._handle is not None:
            os.fsync(self._handle)
            os.close(self._handle)
            self._handle = None


def verify_ledger(folder: str | Path) -> tuple[int, list[Fault]]:
    """Check every line of every file; returns the number of sound lines and the faults."""
    sound, faults = 0, []
    for file in sorted(Path(folder).glob("*.jsonl")):
        for number, _, line in scan_file(file):
            try:
                decode_line(line)
                sound += 1
            except ValueError as error:
                faults.append(Fault(file, number, str(error)))
    return sound, faults
