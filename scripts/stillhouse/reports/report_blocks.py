"""Packs what lies behind a report into blocks of text that a page unpacks one at a time."""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

MOST_ITEMS, MOST_CHARACTERS = 200, 1_000_000
"""A block ends at so many items, or where its texts pass so many characters."""
LEVEL = 6


@dataclass(frozen=True)
class Block:
    """One packed JSON document; `text` has letters, digits, + / = only, so that it can stand anywhere in a page."""

    name: str
    text: str


def pack(name: str, value: Any) -> Block:
    """`value` as JSON, gzip and base64: the same value gives the same bytes (the header has no time)."""
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    return Block(name, base64.b64encode(packer.compress(data) + packer.flush()).decode())


def pack_pages(name: str, items: Iterable[Any]) -> tuple[list[Block], list[int]]:
    """`items` in blocks `name-0`, `name-1` ..., and the number of the first item of each block."""
    blocks, starts, done = [], [], 0
    for page in _pages(items):
        blocks.append(pack(f"{name}-{len(blocks)}", page))
        starts.append(done)
        done += len(page)
    return blocks, starts


def _pages(items: Iterable[Any]) -> Iterator[list[Any]]:
    page: list[Any] = []
    size = 0
    for item in items:
        page.append(item)
        size += _characters(item)
        if len(page) == MOST_ITEMS or size >= MOST_CHARACTERS:
            yield page
            page, size = [], 0
    if page:
        yield page


def _characters(value: Any) -> int:
    """About how long `value` is as text."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _characters(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(_characters, value))
    return 4
