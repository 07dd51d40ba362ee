"""Who works in this folder: processes of a Snakemake run whose lock is still there."""

import json
import os
from pathlib import Path
from typing import Any

from stillhouse.provenance.records import host

OWNER = Path(".snakemake/stillhouse.owner.json")
LOCKS = Path(".snakemake/locks")


def read_owner() -> dict[str, Any] | None:
    """Host, pid and start of the run that did not end, None when there is none."""
    try:
        return json.loads(OWNER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def lock_held() -> bool:
    """Whether a run holds, or left, Snakemake's lock of the working directory."""
    return LOCKS.is_dir() and any(LOCKS.iterdir())


def unknown_host() -> str | None:
    """The machine of the run that left its lock, when it is another one; its processes cannot be seen from here."""
    owner = read_owner()
    return owner["host"] if owner and owner.get("host") != host() else None


def survivors() -> list[tuple[int, str]]:
    """(pid, what it does) of living processes of a Snakemake run in the working directory, its jobs too."""
    here, found = os.getcwd(), []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid in (os.getpid(), os.getppid()) or os.readlink(folder / "cwd") != here:
                continue
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        job = next((Path(word).name for word in words if "/.snakemake/scripts/" in word), None)
        if job:
            found.append((pid, job.split(".", 1)[-1]))
        elif any(word.endswith("/snakemake") or word == "snakemake" for word in words):
            found.append((pid, "snakemake"))
    return sorted(found)
