"""Texts that must not be found, and finding them whatever escapes, markup or line breaks stand between their words.

Long texts are compared by their letters and digits alone, so that JSON escapes, markdown signs, HTML tags and wrapped
lines hide nothing. Short ones would be found everywhere by that; they count only where they are the whole of a cell.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

SHORT = 20
"""Letters and digits below which a text is matched on whole cells only."""

SEPARATOR = "\x1f"
_SIGNS = re.compile(rf"[^\w{SEPARATOR}]+|_")


def skeleton(text: str) -> str:
    """Letters and digits of a text in small letters; separators stay."""
    return _SIGNS.sub("", text.casefold())


def plain(text: str) -> str:
    """A text in small letters with single spaces."""
    return " ".join(text.casefold().split())


def bones(text: str) -> str:
    """The skeleton of one text, in which nothing is a separator."""
    return skeleton(text.replace(SEPARATOR, " "))


def key_of(text: str) -> str:
    """What a text is compared by: its skeleton, or all of it where that is short."""
    found = bones(text)
    return found if len(found) >= SHORT else plain(text)


@dataclass(frozen=True)
class Needle:
    """A text that must not be found: of which prompt, and whether it is the `prompt` or an `answer` to it."""

    text: str
    prompt_id: str
    kind: str

    @cached_property
    def key(self) -> str:
        """What it is compared by."""
        return key_of(self.text)

    @cached_property
    def short(self) -> bool:
        """Whether it is matched on whole cells only."""
        return len(bones(self.text)) < SHORT


@dataclass
class Evidence:
    """Cells in which needles were found, by needle, as they were compared."""

    cells: dict[Needle, set[str]] = field(default_factory=dict)

    def add(self, needle: Needle, cell: str) -> None:
        """Enter one cell."""
        self.cells.setdefault(needle, set()).add(cell)


class Needles:
    """Needles by what they are compared by; of two with the same text the first one counts."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self.long: dict[str, Needle] = {}
        self.short: dict[str, Needle] = {}
        for needle in needles:
            if needle.key:
                (self.short if needle.short else self.long).setdefault(needle.key, needle)

    def __len__(self) -> int:
        return len(self.long) + len(self.short)

    def __iter__(self) -> Iterator[Needle]:
        return iter([*self.long.values(), *self.short.values()])

    def search(self, cells: list[str], evidence: Evidence, *, labels: bool = False) -> None:
        """Enter into `evidence` what is found in `cells`; in `labels` (names, ids) no short text is looked for."""
        joined = skeleton(SEPARATOR.join(cell.replace(SEPARATOR, " ") for cell in cells))
        hits = [key for key in self.long if key in joined]
        for cell in joined.split(SEPARATOR) if hits else ():
            for key in hits:
                if key in cell:
                    evidence.add(self.long[key], cell)
        if self.short and not labels:
            for cell in {plain(cell) for cell in cells} & self.short.keys():
                evidence.add(self.short[cell], cell)


def stands_alone(key: str, cell: str, kept: Iterable[str]) -> bool:
    """Whether `key` is in `cell` outside every occurrence of the `kept` texts (all as they are compared)."""
    for text in sorted(kept, key=len, reverse=True):
        if key in text:
            cell = cell.replace(text, SEPARATOR)
    return key in cell
