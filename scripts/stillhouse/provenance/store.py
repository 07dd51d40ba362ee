"""The store of finished expensive artefacts, by build key: going back to an earlier recipe costs a link."""

import logging
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json, write_json

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


def save(key: str, outputs: list[Path], facts: dict[str, Any]) -> None:
    """Keep `outputs` (in the rule's order) under `key`; the manifest comes last, so a torn entry is no entry."""
    folder = FOLDER / key
    files = []
    for number, output in enumerate(outputs):
        name = f"{number:04d}"
        place_file(output, folder / name)
        files.append({"name": name, "sha256": digest_file(output)})
    write_json(folder / MANIFEST, {"files": files, "facts": facts})


def restore(key: str, outputs: list[Path]) -> dict[str, Any] | None:
    """Link the artefacts kept under `key` to `outputs`; the facts of their making, or None when there are none.

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
    return manifest["facts"]


def _sound_manifest(folder: Path, count: int) -> dict[str, Any] | None:
    """The manifest of an entry of `count` files, None when it or one of the files is damaged."""
    try:
        manifest = read_json(folder / MANIFEST)
        files = [(folder / file["name"], file["sha256"]) for file in manifest["files"]]
        sound = len(files) == count and all(digest_file(file) == sha256 for file, sha256 in files)
        return {"files": manifest["files"], "facts": dict(manifest["facts"])} if sound else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
