"""Reads every record of a set's sources once: what is wrong with it, who it is, and which entries take it down."""

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stillhouse.errors import InputError
from stillhouse.prompts.answered import AnswerMaker
from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.messages import texts_of
from stillhouse.prompts.rows import Row, RowMaker, content_key
from stillhouse.prompts.selection import Scan
from stillhouse.prompts.settings import CollectSettings
from stillhouse.prompts.sources import Source
from stillhouse.study.excludes import Exclude

Entry = tuple[str, str]
"""An entry of the study's `exclude`: the list that it stands in, and its text."""


@dataclass
class Scanned:
    """The facts of all records, the number of records of each source, and the prompts that entries take down."""

    facts: Scan = field(default_factory=Scan)
    counts: list[int] = field(default_factory=list)
    hits: dict[Entry, "array[int]"] = field(default_factory=dict)


def maker_of(settings: CollectSettings) -> RowMaker:
    """What makes the rows of a set."""
    kind = AnswerMaker if settings.answers else RowMaker
    return kind(settings.set, settings.columns, settings.rules, recorded=settings.recorded)


def scan_sources(sources: Sequence[Source], settings: CollectSettings) -> Scanned:
    """Read all sources. Raises `InputError` for what is wrong with a record, unless the settings list such records."""
    found, maker = Scanned(), maker_of(settings)
    for source in sources:
        before = len(found.facts)
        _scan_source(source, maker, settings, found)
        found.counts.append(len(found.facts) - before)
    return found


def _scan_source(source: Source, maker: RowMaker, settings: CollectSettings, found: Scanned) -> None:
    own = [("sources", entry) for entry, files in settings.excluded_files.items() if source.label in files]
    searched = bool(settings.exclude.prompts or settings.exclude.patterns)
    for record in source.records():
        try:
            row = maker.row(record.value())
        except Flaw as flaw:
            if settings.bad_rows == "error":
                raise InputError(f"{source.place(record.line)}: {flaw.text}") from None
            found.facts.add_flawed(record.line, flaw.reason)
            continue
        prompt = int(row["prompt_id"], 16)
        hits = [*own, *taken_by(row, settings.exclude)] if searched else own
        for entry in hits:
            found.hits.setdefault(entry, array("Q")).append(prompt)
        found.facts.add(
            record.line,
            prompt,
            hashlib.blake2b(row["id"].encode(), digest_size=16).digest(),
            content_key(row),
            int(row["response_id"], 16) if settings.answers else 0,
            wanted=_wanted(row, settings),
            hit=bool(hits),
        )


def _wanted(row: Row, settings: CollectSettings) -> bool:
    """Whether the study takes prompts of the row's category."""
    if row["category"] in settings.except_categories:
        return False
    return settings.categories is None or row["category"] in settings.categories


def taken_by(row: Row, exclude: Exclude) -> list[Entry]:
    """The entries of `exclude` that take a row down by what it is; whole sources are not among them."""
    names = (row["prompt_id"], f"{row['set']}:{row['id']}")
    found = [("prompts", entry) for entry in exclude.prompts if entry in names]
    return found + [("patterns", entry) for entry in exclude.patterns if matches(entry, turns(row))]


def matches(pattern: str, texts: Iterable[str]) -> bool:
    """Whether a regular expression is found in one of the texts."""
    return any(re.search(pattern, text) for text in texts)


def turns(row: Row) -> list[str]:
    """The texts of every turn of a prompt."""
    messages: list[dict[str, Any]] = json.loads(row["messages"])
    return [text for message in messages for text in texts_of(message)]
