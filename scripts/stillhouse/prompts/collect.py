"""Collects a prompt set: what the file holds, without what is taken down and what lies over the limit."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from stillhouse.prompts.read import read_prompts
from stillhouse.study.base import Name, Section
from stillhouse.study.excludes import Exclude, set_of

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Entry = tuple[str, str]
"""An entry of the study's `exclude`: the list that it stands in, and its text."""


class CollectSettings(Section):
    """One prompt set: its name, the most prompts to take, and what of the study's `exclude` can concern it."""

    set: Name
    limit: int | None = Field(None, ge=1)
    exclude: Exclude = Exclude()


@dataclass(frozen=True)
class Collected:
    """Rows that are used, rows that are taken down, and how many prompts each entry of `exclude` takes."""

    kept: list[Row]
    excluded: list[Row]
    over_limit: int
    entries: dict[Entry, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Books of the set: `lines` = `prompts` + `excluded` + `over_limit`. No text of a prompt is told."""
        return {
            "lines": len(self.kept) + len(self.excluded) + self.over_limit,
            "prompts": len(self.kept),
            "excluded": len(self.excluded),
            "over_limit": self.over_limit,
            "exclude": [{"key": key, "entry": entry, "prompts": n} for (key, entry), n in self.entries.items()],
        }


def collect(file: Path, settings: CollectSettings) -> Collected:
    """The prompts of `file`, sorted by prompt_id.

    The limit counts before anything is taken down: no prompt moves up, so taking one down asks for no other.
    Raises `InputError` as `read_prompts` does.
    """
    rows = read_prompts(file, settings.set)
    limit = len(rows) if settings.limit is None else settings.limit
    hits = [taken_by(row, settings.exclude) for row in rows]
    entries = {
        entry: sum(entry in found for found in hits)
        for entry in ((key, text) for key, texts in settings.exclude.model_dump().items() for text in texts)
    }
    excluded = [row for row, found in zip(rows, hits, strict=True) if found]
    kept = [row for row, found in zip(rows[:limit], hits[:limit], strict=True) if not found]
    return Collected(kept, excluded, len(rows) - len(kept) - len(excluded), entries)


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
