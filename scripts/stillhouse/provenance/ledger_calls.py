"""The calls of a ledger one after another, in the order of its files, and what they add up to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.provenance.ledger_check import ledger_files
from stillhouse.provenance.ledger_index import LedgerIndex, Place, time_of
from stillhouse.provenance.ledger_lines import decode_answer, decode_line, lines_from


@dataclass(frozen=True)
class Wanted:
    """Which calls are meant; None means all.

    `model` and `writer` are names or patterns (`*`), a writer's name being a rule with its wildcards, or the rule
    alone; `since` is in microseconds since 1970.
    """

    model: str | None = None
    writer: str | None = None
    since: int | None = None

    def takes_writer(self, name: str) -> bool:
        """Whether a job's calls are meant."""
        return self.writer is None or name.startswith(f"{self.writer}-") or fnmatchcase(name, self.writer)

    def takes(self, call: dict[str, Any]) -> bool:
        """Whether a call is meant, as far as its own words tell."""
        if self.model is not None and not fnmatchcase(str(call.get("name")), self.model):
            return False
        return self.since is None or self.since <= time_of(str(call.get("at")))


@dataclass(frozen=True)
class Answered:
    """A line of the ledger. `counts` is False where an earlier line answers the same request."""

    digest: str
    call: dict[str, Any]
    writer: str
    counts: bool


def parse_since(text: str) -> int:
    """Microseconds since 1970 of a date, or a date and time, in UTC unless it says otherwise; raises `LedgerError`."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise LedgerError(f"--since {text}: write a date like 2026-01-31, or 2026-01-31T12:00") from None
    return time_of((told if told.tzinfo else told.replace(tzinfo=UTC)).isoformat())


def writer_of(file: Path) -> str:
    """The job that wrote a file of the ledger, as its name has it: rule and wildcards."""
    return file.stem.rsplit("-", 1)[0]


def answered(folder: Path, root: Path, wanted: Wanted, *, requests: bool) -> Iterator[Answered]:
    """Every sound line that is wanted; without `requests` the calls may come without theirs, which is quicker.

    Raises `LedgerError` when there is no ledger or a file cannot be read.
    """
    decode = decode_line if requests else decode_answer
    files = ledger_files(folder)
    index = LedgerIndex(folder, root)
    for file in files:
        writer = writer_of(file)
        for offset, line in lines_from(file) if wanted.takes_writer(writer) else ():
            try:
                digest, call = decode(line)
            except ValueError:
                continue  # the index told
            if wanted.takes(call):
                counts = index.place(digest) in (None, Place(file, offset, len(line)))
                yield Answered(digest, call, writer, counts)


@dataclass
class Totals:
    """What the calls of one model add up to. `usd` is the sum of known prices, `unpriced` counts the others."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    first: str = ""
    last: str = ""
    served: set[str] = field(default_factory=set)

    def add(self, call: dict[str, Any]) -> None:
        """Count one call."""
        usage, at = call["usage"], str(call["at"])
        self.calls += 1
        self.prompt_tokens += usage["prompt_tokens"] or 0
        self.completion_tokens += usage["completion_tokens"] or 0
        self.usd += call["usd"] or 0.0
        self.unpriced += call["usd"] is None
        self.first = min(self.first or at, at)
        self.last = max(self.last, at)
        if call.get("served_model"):
            self.served.add(call["served_model"])

    def plain(self) -> dict[str, Any]:
        """As JSON types; `usd` is None when no price is known."""
        known = self.calls > self.unpriced
        return {
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "usd": round(self.usd, 6) if known else None,
            "calls_without_price": self.unpriced,
            "first": self.first,
            "last": self.last,
            "served": sorted(self.served),
        }


@dataclass
class Summary:
    """Totals by the model's name in the study; `doubles` are lines beside those that count, and what they took."""

    models: dict[str, Totals] = field(default_factory=dict)
    doubles: Totals = field(default_factory=Totals)

    def add(self, one: Answered) -> None:
        """Count one line."""
        totals = self.models.setdefault(str(one.call["name"]), Totals()) if one.counts else self.doubles
        totals.add(one.call)

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        models = [{"model": name, **totals.plain()} for name, totals in sorted(self.models.items())]
        return {"models": models, "doubles": self.doubles.plain() if self.doubles.calls else None}
