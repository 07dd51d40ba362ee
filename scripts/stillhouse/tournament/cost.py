"""What a generation cost: calls, tokens and USD by role and model, out of the ledger, at the study's prices of today.

Every call that the answers, failures, verdicts and scores name counts once. A call that was made for an earlier state of the
study, and that nothing names any more, is in the ledger and not here.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.llm.ledger import Ledger
from stillhouse.provenance.call_facts import tournament_roles
from stillhouse.provenance.files import read_parquet_rows, stream_parquet_rows

FORMAT = 1
DIGITS = 6
FAILED, CHECK, QUALITY, UNTOLD = "failed prompts", "external check", "quality", "role not told"

Entry = dict[str, Any]


@dataclass
class Line:
    """Calls of one role at one model."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, usage: dict[str, int]) -> None:
        """One call."""
        self.calls += 1
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]


def cost_of(
    answers: Path,
    failures: Path,
    checks: list[Path],
    ledger: Ledger,
    models: list[dict[str, Any]],
    scores: list[Path] | None = None,
) -> dict[str, Any]:
    """Calls, tokens and USD by role and model, and what of it is not known.

    `models` are the study's models of this generation: name, backend, name at the server, price in USD per million
    tokens (None: unknown). A model that runs here costs nothing. `usd` is None where a price is unknown, which is
    not 0; `usd_known` is the sum of the rest. `missing` counts calls that the ledger does not have.
    """
    book = _Book(ledger, models)
    for row in stream_parquet_rows(answers, ["transcript", "calls"]):
        book.answer(row)
    for row in read_parquet_rows(failures, ["calls"]):
        book.add(row["calls"] or (), FAILED)
    for role, files in ((CHECK, checks), (QUALITY, scores or [])):
        for file in files:
            for row in stream_parquet_rows(file, ["calls"]):
                book.add(row["calls"], role)
    return book.plain()


class _Book:
    """Counts calls, each digest once."""

    def __init__(self, ledger: Ledger, models: list[dict[str, Any]]) -> None:
        self._ledger, self._models = ledger, models
        self._seen: set[bytes] = set()
        self._lines: dict[tuple[str, str], Line] = defaultdict(Line)
        self._missing = 0

    def answer(self, row: Entry) -> None:
        """The calls behind one answer, each in its role."""
        transcript = json.loads(row["transcript"]) if row["transcript"] else {"rounds": []}
        if "turns" in transcript:
            for turn in transcript["turns"]:
                self.add(turn["calls"], turn["speaker"])
            return
        found = {digest: self._entry(digest) for digest in row["calls"]}
        attempts = {digest: entry and entry["request"]["index"] for digest, entry in found.items()}
        roles = tournament_roles(list(found), transcript["rounds"], attempts)
        for (digest, entry), role in zip(found.items(), roles, strict=True):
            self._count(digest, entry, role.split(",")[0].split()[0] if role else UNTOLD)

    def add(self, digests: list[str], role: str) -> None:
        """Calls that are all of one role."""
        for digest in digests:
            self._count(digest, self._entry(digest), role)

    def _entry(self, digest: str) -> Entry | None:
        try:
            return self._ledger.entry(digest)
        except (KeyError, LedgerError):
            return None

    def _count(self, digest: str, entry: Entry | None, role: str) -> None:
        key = bytes.fromhex(digest)
        if key in self._seen:
            return
        self._seen.add(key)
        if entry is None:
            self._missing += 1
            return
        self._lines[role, self._model(entry)].add(entry["usage"])

    def _model(self, entry: Entry) -> str:
        """The study's name of the model that answered; a call keeps the name of its day, and models are renamed."""
        asked = entry["request"]["model"]
        same = [
            item["name"]
            for item in self._models
            if item["backend"] == asked.get("backend") and item.get("model") == asked.get("model")
        ]
        return entry["name"] if entry["name"] in same or len(same) != 1 else same[0]

    def plain(self) -> dict[str, Any]:
        """cost.json without the generation's name."""
        lines = [
            {"role": role, "model": model, **vars(line), "usd": self._usd(model, line)}
            for (role, model), line in sorted(self._lines.items(), key=lambda item: (_rank(item[0][0]), item[0][1]))
        ]
        known = [line["usd"] for line in lines if line["usd"] is not None]
        total = round(sum(known), DIGITS)
        return {
            "format": FORMAT,
            **{name: sum(line[name] for line in lines) for name in ("calls", "prompt_tokens", "completion_tokens")},
            "usd": total if len(known) == len(lines) and not self._missing else None,
            "usd_known": total,
            "unpriced_calls": sum(line["calls"] for line in lines if line["usd"] is None),
            "unpriced_models": sorted({line["model"] for line in lines if line["usd"] is None}),
            "missing": self._missing,
            "lines": lines,
            "prices": {item["name"]: item["price"] for item in self._models if item["backend"] == "openai"},
        }

    def _usd(self, model: str, line: Line) -> float | None:
        """USD of a line; None where the study has no price for the model, or does not know it."""
        item = next((item for item in self._models if item["name"] == model), None)
        if item is None:
            return None
        if item["backend"] != "openai":
            return 0.0
        price = item["price"]
        if price is None:
            return None
        return round((line.prompt_tokens * price["input"] + line.completion_tokens * price["output"]) / 1e6, DIGITS)


RANKS = ("teacher", "partner", "critic", "author", "synthesizer", "judge", UNTOLD, FAILED, CHECK, QUALITY)


def _rank(role: str) -> int:
    return RANKS.index(role) if role in RANKS else len(RANKS)


def in_words(generation: str, cost: dict[str, Any]) -> str:
    """One line for the log; an unknown price says so."""
    tokens = cost["prompt_tokens"] + cost["completion_tokens"]
    told = f"generation {generation}: {cost['calls']:,} calls, {tokens:,} tokens, "
    told += f"{cost['usd_known']:.4f} USD" if any(line["usd"] is not None for line in cost["lines"]) else "USD unknown"
    if cost["unpriced_calls"]:
        told += f", no price for {cost['unpriced_calls']:,} calls to {', '.join(cost['unpriced_models'])}"
    if cost["missing"]:
        told += f"; {cost['missing']:,} calls are not in the ledger"
    return told
