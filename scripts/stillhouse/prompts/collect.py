"""Collects a prompt set: what its sources hold, without what is taken down and what lies over the limit."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillhouse.errors import InputError
from stillhouse.prompts.fetch import EXCLUDED, KEPT, REJECTED, Reject, fetch
from stillhouse.prompts.flaws import REASONS
from stillhouse.prompts.rows import SCHEMA
from stillhouse.prompts.scan import Entry, Scanned, maker_of, scan_sources
from stillhouse.prompts.selection import (
    Copies,
    code_of,
    draw,
    find_answers,
    find_copies,
    first_repeat,
    first_shared_id,
    reason_of,
)
from stillhouse.prompts.settings import CollectSettings
from stillhouse.prompts.sources import Source, sources_of
from stillhouse.provenance.files import atomic_path
from stillhouse.study.excludes import set_of

logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Collected:
    """Rows that are used, rows that are taken down (both by prompt_id), and how many prompts each entry takes.

    Of a set with answers all counts are of rows, of which a prompt may have several.

    `other_categories` counts prompts that the set does not take, `not_sampled` those outside the sample, `repeated`
    lines that only add an answer, `rejected` rows that cannot be used, by reason.
    """

    kept: pa.Table
    excluded: pa.Table
    over_limit: int = 0
    not_sampled: int = 0
    other_categories: int = 0
    repeated: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    entries: dict[Entry, int] = field(default_factory=dict)
    unit: str = "prompts"

    def facts(self) -> dict[str, Any]:
        """Books of the set: `lines` is the sum of the seven counts below it. No text of a prompt is told."""
        counts = {
            self.unit: len(self.kept),
            "excluded": len(self.excluded),
            "over_limit": self.over_limit,
            "not_sampled": self.not_sampled,
            "other_categories": self.other_categories,
            "repeated": self.repeated,
            "rejected": sum(self.rejected.values()),
        }
        return {
            "lines": sum(counts.values()),
            **counts,
            "reasons": self.rejected,
            "exclude": [{"key": key, "entry": entry, "prompts": n} for (key, entry), n in self.entries.items()],
        }


def collect(files: Sequence[Path], settings: CollectSettings, reject: Reject | None = None) -> Collected:
    """The prompts of a set.

    The sources are read twice: for what every record is, and for the texts of those that are taken. So memory grows
    with what is kept, and by some fifty bytes a record. Rejected rows go to `reject` in the order of files and lines.
    Where an entry of `exclude` concerns the set they come without an excerpt: it could hold what is taken down.

    Sample and limit count before anything is taken down: no prompt moves up, so taking one down asks for no other. A
    prompt is taken down when one of its copies is.

    Raises:
        InputError: a source cannot be read, holds a bad row (with `bad_rows: error`), or no prompt that the set takes.
    """
    sources = sources_of(files, settings.format, settings.columns, settings.hub)
    scanned = scan_sources(sources, settings)
    chosen = _choose(sources, scanned, settings)
    told = settings.exclude.model_dump()
    kept, excluded = fetch(
        sources, maker_of(settings), scanned.facts, chosen.fates, reject, excerpts=not any(told.values())
    )
    return Collected(
        kept,
        excluded,
        **chosen.left,
        rejected=_by_reason(scanned),
        entries=_count_entries(scanned, chosen.prompts, settings),
        unit="answers" if settings.answers else "prompts",
    )


@dataclass(frozen=True)
class _Choice:
    """The fate of every record, prompts of the set that are counted by entries, and counts of what is left aside."""

    fates: NDArray[np.uint8]
    prompts: NDArray[np.uint64]
    left: dict[str, int]


def _choose(sources: Sequence[Source], scanned: Scanned, settings: CollectSettings) -> _Choice:
    facts = scanned.facts
    copies = find_answers(facts) if settings.answers else find_copies(facts, recorded=settings.recorded)
    if settings.bad_rows == "error" and (len(copies.same_prompt) or len(copies.same_id)):
        raise _doubled(sources, scanned, copies, settings)
    for reason, doubled in (("duplicate_prompt", copies.same_prompt), ("duplicate_id", copies.same_id)):
        for number in doubled:
            facts.flaws[number] = code_of(reason)
    wanted = copies.staying[np.frombuffer(facts.wanted, np.uint8)[copies.staying] > 0]
    if not len(wanted):
        raise InputError(_nothing(sources, scanned, settings))
    prompts = np.frombuffer(facts.prompts, np.uint64)[wanted]
    taken = _taken(scanned, prompts, settings)
    sample = settings.sample
    keys = prompts ^ np.frombuffer(facts.answers, np.uint64)[wanted]
    drawn = draw(keys, sample.size, sample.seed) if sample else np.ones(len(prompts), bool)
    used = drawn & (np.cumsum(drawn) <= (settings.limit or len(prompts)))
    fates = np.zeros(len(facts), np.uint8)
    fates[np.frombuffer(facts.flaws, np.uint8) > 0] = REJECTED
    fates[wanted[used]] = KEPT
    fates[wanted[taken]] = EXCLUDED
    left = {
        "over_limit": int(np.sum(drawn & ~used & ~taken)),
        "not_sampled": int(np.sum(~drawn & ~taken)),
        "other_categories": len(copies.staying) - len(wanted),
        "repeated": len(copies.repeated),
    }
    return _Choice(fates, np.unique(prompts), left)


def _taken(scanned: Scanned, prompts: NDArray[np.uint64], settings: CollectSettings) -> Mask:
    """Which prompts are taken down, by any of their copies."""
    if settings.whole:
        return np.ones(len(prompts), bool)
    facts = scanned.facts
    hit = np.frombuffer(facts.prompts, np.uint64)[np.frombuffer(facts.hits, np.uint8) > 0]
    return np.isin(prompts, hit)


def _count_entries(scanned: Scanned, prompts: NDArray[np.uint64], settings: CollectSettings) -> dict[Entry, int]:
    found = {}
    for key, entries in settings.exclude.model_dump().items():
        for entry in entries:
            hits = np.array(scanned.hits.get((key, entry), ()), np.uint64)
            whole = key == "sources" and entry in settings.whole
            found[key, entry] = len(prompts) if whole else int(np.sum(np.isin(prompts, hits)))
    return found


def _nothing(sources: Sequence[Source], scanned: Scanned, settings: CollectSettings) -> str:
    """Why a set has no prompt."""
    place = sources[0].label + (f" and {len(sources) - 1} more" if len(sources) > 1 else "")
    rejected = _by_reason(scanned)
    if sum(rejected.values()) < len(scanned.facts):
        return f"{place}: no prompt of set {settings.set} is of the categories that the study takes"
    told = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    return f"{place}: no prompts in it; rejected: {told}"


def _by_reason(scanned: Scanned) -> dict[str, int]:
    """How many records are rejected for each reason."""
    found = Counter(reason_of(code) for code in scanned.facts.flaws if code)
    return {reason: found[reason] for reason in REASONS if found[reason]}


def _doubled(sources: Sequence[Source], scanned: Scanned, copies: Copies, settings: CollectSettings) -> InputError:
    """The error that tells the first record which doubles another one."""
    facts = scanned.facts
    number, earlier, kind = first_shared_id(facts) if settings.answers else first_repeat(facts, copies)
    source, inside = _locate(number, sources, scanned)
    first, _ = _locate(earlier, sources, scanned)
    record = next(record for place, record in enumerate(source.records()) if place == inside)
    line = facts.lines[earlier]
    where = f"{source.unit} {line}" if first is source else first.place(line)
    name = maker_of(settings).row(record.value())["id"]
    return InputError(f"{source.place(record.line)}: {kind} {name!r} was in {where} already")


def _locate(number: int, sources: Sequence[Source], scanned: Scanned) -> tuple[Source, int]:
    """The source of a record, and its number in there."""
    for source, records in zip(sources, scanned.counts, strict=True):
        if number < records:
            return source, number
        number -= records
    raise IndexError(number)


def write_prompts(path: Path, prompts: pa.Table) -> None:
    """Write collected prompts as parquet, the same bytes for the same rows."""
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for start in range(0, len(prompts), 10_000):
            writer.write_table(prompts.slice(start, 10_000).cast(SCHEMA))


def tell(settings: CollectSettings, collected: Collected) -> None:
    """Log what each entry takes and what was rejected.

    An entry that can name a prompt of this set only and does not is worth a warning.
    """
    for reason, count in collected.rejected.items():
        logger.warning("set %s: %d rows rejected: %s (%s)", settings.set, count, reason, REASONS[reason])
    if settings.sample and not collected.not_sampled and not collected.over_limit:
        logger.info("set %s: the sample is all of it", settings.set)
    for (key, entry), count in collected.entries.items():
        own = key == "prompts" and set_of(entry) == settings.set
        level = logging.WARNING if own and not count else logging.INFO
        logger.log(level, "exclude.%s %r takes %d prompts of set %s", key, entry, count, settings.set)
    if not len(collected.kept):
        logger.warning("set %s has no prompt left", settings.set)
