"""Collects a prompt set: what the file holds, without what is taken down and what lies over the limit."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from stillhouse.errors import InputError
from stillhouse.prompts.read import count_lines, read_prompts
from stillhouse.study.base import Name, Section
from stillhouse.study.excludes import Exclude, set_of

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Entry = tuple[str, str]
"""An entry of the study's `exclude`: the list that it stands in, and its text."""


class CollectSettings(Section):
    """One prompt set: its name, which prompts to take and how many at most, and what of the study's `exclude` can concern it."""

    set: Name
    limit: int | None = Field(None, ge=1)
    categories: list[str] | None = None  # only prompts of these
    except_categories: list[str] = []  # none of these
    recorded: bool = False  # whether the file may hold recorded answers beside the prompts
    exclude: Exclude = Exclude()


@dataclass(frozen=True)
class Collected:
    """Rows that are used, rows that are taken down, and how many prompts each entry of `exclude` takes.

    `other_categories` counts prompts that the set does not take, `repeated` lines that only add an answer.
    """

    kept: list[Row]
    excluded: list[Row]
    over_limit: int
    other_categories: int = 0
    repeated: int = 0
    entries: dict[Entry, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Books of the set: `lines` is the sum of the five counts below it. No text of a prompt is told."""
        counts = {
            "prompts": len(self.kept),
            "excluded": len(self.excluded),
            "over_limit": self.over_limit,
            "other_categories": self.other_categories,
            "repeated": self.repeated,
        }
        return {
            "lines": sum(counts.values()),
            **counts,
            "exclude": [{"key": key, "entry": entry, "prompts": n} for (key, entry), n in self.entries.items()],
        }


def collect(file: Path, settings: CollectSettings) -> Collected:
    """The prompts of `file`, sorted by prompt_id.

    The limit counts before anything is taken down: no prompt moves up, so taking one down asks for no other.
    Raises `InputError` as `read_prompts` does.
    """
    everything = read_prompts(file, settings.set, recorded=settings.recorded)
    rows = [row for row in everything if _wanted(row, settings)]
    if not rows:
        raise InputError(f"{file}: no prompt of set {settings.set} is of the categories that the study takes")
    limit = len(rows) if settings.limit is None else settings.limit
    hits = [taken_by(row, settings.exclude) for row in rows]
    entries = {
        entry: sum(entry in found for found in hits)
        for entry in ((key, text) for key, texts in settings.exclude.model_dump().items() for text in texts)
    }
    excluded = [row for row, found in zip(rows, hits, strict=True) if found]
    kept = [row for row, found in zip(rows[:limit], hits[:limit], strict=True) if not found]
    others, repeated = len(everything) - len(rows), count_lines(file) - len(everything)
    return Collected(kept, excluded, len(rows) - len(kept) - len(excluded), others, repeated, entries)


def _wanted(row: Row, settings: CollectSettings) -> bool:
    """Whether the study takes prompts of the row's category."""
    if row["category"] in settings.except_categories:
        return False
    return settings.categories is None or row["category"] in settings.categories


def taken_by(row: Row, exclude: Exclude) -> list[Entry]:
    """The entries of `exclude` that take a row down; every source in it does (it is the set's own, or not there)."""
    names = (row["prompt_id"], f"{row['set']}:{row['id']}")
    found = [("prompts", entry) for entry in exclude.prompts if entry in names]
    found += [("sources", entry) for entry in exclude.sources]
    return found + [("patterns", entry) for entry in exclude.patterns if matches(entry, turns(row))]


def matches(pattern: str, texts: Iterable[str]) -> bool:
    """Whether a regular expression is found in one of the texts."""
    return any(re.search(pattern, text) for text in texts)


def turns(row: Row) -> list[str]:
    """The text of every turn of a prompt."""
    return [message["content"] for message in json.loads(row["messages"])]


def tell(settings: CollectSettings, collected: Collected) -> None:
    """Log what each entry takes; one that can name a prompt of this set only and does not is worth a warning."""
    for (key, entry), count in collected.entries.items():
        own = key == "prompts" and set_of(entry) == settings.set
        level = logging.WARNING if own and not count else logging.INFO
        logger.log(level, "exclude.%s %r takes %d prompts of set %s", key, entry, count, settings.set)
    if not collected.kept:
        logger.warning("set %s has no prompt left", settings.set)
