"""Canonical JSON, content digests and seeds derived from them."""

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """Serialise `value` the one way that digests use: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_text(text: str) -> str:
    """Sha256 of `text` in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_json(value: Any) -> str:
    """Sha256 of the canonical JSON of `value`, 64 hex digits."""
    return digest_text(canonical_json(value))


def digest_file(path: str | Path) -> str:
    """Sha256 of a file's bytes, 64 hex digits, in constant memory."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seed_from(*parts: object) -> int:
    """A seed in [0, 2**31) that depends on every part, for calls and permutations."""
    return int(digest_json([str(part) for part in parts])[:8], 16) & 0x7FFFFFFF


def prompt_id(messages: list[dict[str, Any]]) -> str:
    """Identity of a prompt: 16 hex digits over its messages only, whatever set or id it has."""
    return digest_json(messages)[:16]
