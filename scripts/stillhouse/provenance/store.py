"""The store of finished artefacts, by build key: work that was done once is not done again, whatever plans it."""

import logging
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json, write_json
from stillhouse.provenance.records import FileDigest, seal

logger = logging.getLogger(__name__)

FOLDER = Path("results/.store")
MANIFEST = "manifest.json"


def bypassed() -> bool:
    """Whether `STILLHOUSE_REBUILD=1` asks for real work."""
    return os.environ.get("STILLHOUSE_REBUILD", "") not in ("", "0")


def place_file(source: Path, target: Path) -> None:
    """Put `source` at `target` by a hard link where the file system has them, else by a copy; atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:  # a rename between two links to one file does nothing and leaves both
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Kept:
    """What an entry knows besides its files: the rule, the facts of the making, and the run that did the work."""

    rule: str
    facts: dict[str, Any]
    run: dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One entry as `entries` lists it; `freed` is what removing it gives back, in bytes."""

    key: str
    rule: str
    size: int
    freed: int
    finished: str


def save(key: str, artefacts: list[FileDigest], kept: Kept) -> None:
    """Keep `artefacts` (in the rule's order) under `key`; the manifest comes last, so a torn entry is no entry."""
    folder = FOLDER / key
    files = []
    for number, artefact in enumerate(artefacts):
        name = f"{number:04d}"
        place_file(Path(artefact.path), folder / name)
        files.append({"name": name, "sha256": artefact.sha256, "path": artefact.path})
    manifest = {"files": files, "rule": kept.rule, "facts": kept.facts, "run": kept.run}
    write_json(folder / MANIFEST, seal(manifest))


def restore(key: str, outputs: list[Path]) -> Kept | None:
    """Link the artefacts kept under `key` to `outputs`; what is known of their making, or None when there are none.

    Every file is verified first: an entry that was damaged is dropped and the work done again.
    """
    folder = FOLDER / key
    if bypassed() or not (folder / MANIFEST).is_file():
        return None
    manifest = _sound_manifest(folder, len(outputs))
    if manifest is None:
        logger.warning("store entry %s is damaged: dropped", key)
        shutil.rmtree(folder)
        return None
    for file, output in zip(manifest["files"], outputs, strict=True):
        place_file(folder / file["name"], output)
    return Kept(manifest["rule"], manifest["facts"], manifest["run"])


def copy_entry(key: str, new_key: str) -> None:
    """Give an entry a second key, for an artefact that was accepted under changed code."""
    if (FOLDER / key / MANIFEST).is_file():
        for file in sorted((FOLDER / key).iterdir(), key=lambda file: file.name == MANIFEST):
            place_file(file, FOLDER / new_key / file.name)


def _sound_manifest(folder: Path, count: int) -> dict[str, Any] | None:
    """The manifest of an entry of `count` files, None when it or one of the files is damaged."""
    try:
        manifest = read_json(folder / MANIFEST)
        files = [(folder / file["name"], file["sha256"]) for file in manifest["files"]]
        sound = len(files) == count and all(digest_file(file) == sha256 for file, sha256 in files)
        return manifest if sound and seal(manifest) == manifest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def entries() -> list[Entry]:
    """All entries, largest gain first; a folder without a readable manifest counts as rule `(torn)`."""
    found = []
    for folder in sorted(FOLDER.glob("*/")):
        files = [file.stat() for file in folder.iterdir()]
        try:
            manifest = read_json(folder / MANIFEST)
            rule, finished = str(manifest["rule"]), str(manifest["run"]["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            rule, finished = "(torn)", ""
        freed = sum(file.st_size for file in files if file.st_nlink == 1)
        found.append(Entry(folder.name, rule, sum(file.st_size for file in files), freed, finished))
    return sorted(found, key=lambda entry: (-entry.freed, entry.key))


def remove(key: str) -> None:
    """Remove one entry; artefacts that share its files stay. The manifest goes first, as it came last."""
    folder = FOLDER / key
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)
