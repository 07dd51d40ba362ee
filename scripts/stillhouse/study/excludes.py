"""The `exclude` section: prompts that are taken down, and what of it can concern one set."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field

from stillhouse.study.base import NAME_PATTERN, Section

PROMPT_ID = re.compile(r"[0-9a-f]{16}")
_SET_NAME = re.compile(NAME_PATTERN)


def _prompt(entry: str) -> str:
    set_name, colon, identity = entry.partition(":")
    if not PROMPT_ID.fullmatch(entry) and not (colon and identity.strip() and _SET_NAME.fullmatch(set_name)):
        raise ValueError(f"expected a prompt_id (16 hex digits, small) or `set:id`; found {entry!r}")
    return entry


def _source(entry: str) -> str:
    if not entry.strip():
        raise ValueError("expected the name of a prompt set or a file of prompts; found nothing")
    return entry


def _pattern(entry: str) -> str:
    try:
        pattern = re.compile(entry)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{entry!r} is no regular expression: {error}") from None
    if pattern.search(""):
        raise ValueError(f"{entry!r} matches an empty text, so it would exclude every prompt")
    return entry


class Exclude(Section):
    """Prompts that are taken down: they reach no artefact, and neither do their answers.

    An entry that matches nothing is no error: what it names may be gone already.
    """

    prompts: list[Annotated[str, AfterValidator(_prompt)]] = Field(
        [], description="prompts by prompt_id (16 hex digits), or by `set:id` with the id of the user's file"
    )
    sources: list[Annotated[str, AfterValidator(_source)]] = Field(
        [], description="whole prompt sets, by name (prompts and evaluations) or by file"
    )
    patterns: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        [], description="Python regular expressions, searched for in every turn of a prompt"
    )


def concerning(exclude: Exclude, set_name: str, file: str, find: Callable[[str], str]) -> dict[str, list[str]]:
    """The entries of `exclude` that can concern the set `set_name` out of `file`, sorted, without empty lists.

    `find` names a file as the rules do. What this leaves out cannot change the set, so it replans nothing.
    """
    mine = {
        "prompts": {entry for entry in exclude.prompts if set_of(entry) in (None, set_name)},
        "sources": {entry for entry in exclude.sources if entry == set_name or find(entry) == file},
        "patterns": set(exclude.patterns),
    }
    return {key: sorted(entries) for key, entries in mine.items() if entries}


def set_of(entry: str) -> str | None:
    """The prompt set of an entry `set:id`, None for a prompt_id."""
    return None if PROMPT_ID.fullmatch(entry) else entry.partition(":")[0]
