"""Digests of the user's own files for the `sources` param of rules.

Snakemake looks at an input's content only when its time stamp is newer than the outputs: a file that is put in its
place with its older time (`mv`, `cp -p`, a restored backup) would go unseen.
"""

import os
from collections.abc import Mapping
from functools import lru_cache

from stillhouse.provenance.digests import digest_file

MAX_HASHED = 64 * 2**20
"""Bytes; larger files (weights) count by their size here, since every plan would hash them."""


def source_digests(files: str | list[str] | Mapping[str, str | list[str]]) -> list[str]:
    """A digest for each of `files` that no rule makes, in their order; `size:N` for those above `MAX_HASHED`."""
    paths = [files] if isinstance(files, str) else files
    if isinstance(paths, Mapping):
        paths = [path for value in paths.values() for path in ([value] if isinstance(value, str) else value)]
    return [_digest(path) for path in paths if not path.startswith("results/")]


def _digest(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "missing"
    return _digest_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=100_000)
def _digest_of(path: str, size: int, mtime_ns: int, inode: int) -> str:
    """Hash a file once for all jobs of a plan."""
    return f"size:{size}" if size > MAX_HASHED else digest_file(path)
