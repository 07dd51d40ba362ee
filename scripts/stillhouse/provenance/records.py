"""Records: one JSON beside each artefact that says exactly where it came from.

Schema version 2 (docs/record.schema.json); records of version 1, which lack `models`, `usage`, `seeds`, `contents`,
`origin` and `accepted`, can still be read. `seal` is the digest of the record without itself, so that a changed record is found too.
"""

import os
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.digests import digest_file, digest_json
from stillhouse.provenance.files import read_json, write_json

SCHEMA = 2
READABLE = (1, 2)
USAGE = ("calls_made", "calls_replayed", "calls_without_price", "prompt_tokens", "completion_tokens", "usd")


@dataclass(frozen=True)
class FileDigest:
    """A file as it was: path as the study names it, sha256 and size in bytes."""

    path: str
    sha256: str
    size: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"path": self.path, "sha256": self.sha256, "size": self.size}


def digest_of(path: str | Path) -> FileDigest:
    """Hash one file; raises `RecordError` when it is missing."""
    try:
        return FileDigest(str(path), digest_file(path), os.path.getsize(path))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error


@lru_cache(maxsize=1)
def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the workflow and whether files differ from it; None outside git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def now() -> str:
    """UTC time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def host() -> str:
    """Name of this machine."""
    return socket.gethostname()


def seeds_of(recipe: Any, path: str = "") -> dict[str, int]:
    """Every seed that a recipe holds: dotted path -> value."""
    if isinstance(recipe, list):
        recipe = {str(number): item for number, item in enumerate(recipe)}
    if not isinstance(recipe, dict):
        return {}
    found = {f"{path}{k}": v for k, v in recipe.items() if k == "seed" and isinstance(v, int)}
    for name, value in recipe.items():
        found |= seeds_of(value, f"{path}{name}.")
    return found


def usage_of(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Calls, tokens and cost out of a job's facts; None for a job that asks no model.

    `usd` is null where no call had a known price.
    """
    if "calls_made" not in facts:
        return None
    usage = {name: facts[name] for name in USAGE}
    calls = usage["calls_made"] + usage["calls_replayed"]
    return {**usage, "usd": None if calls and usage["calls_without_price"] == calls else usage["usd"]}


def seal(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its own digest."""
    body = {key: value for key, value in record.items() if key != "seal"}
    return {**body, "seal": digest_json(body)}


def write_record(path: str | Path, record: dict[str, Any]) -> None:
    """Write a sealed record."""
    write_json(path, seal({"schema": SCHEMA, **record}))


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record; raises `RecordError` when it is not one, or was changed after it was written."""
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a readable record ({error})") from error
    if not isinstance(record, dict) or record.get("schema") not in READABLE:
        raise RecordError(f"{path}: not a record of schema {' or '.join(map(str, READABLE))}")
    if record.get("seal") != digest_json({key: value for key, value in record.items() if key != "seal"}):
        raise RecordError(f"{path}: the record was changed after it was written")
    return record
