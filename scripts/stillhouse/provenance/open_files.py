"""Reads pieces of many files through few descriptors that stay open."""

import os
from pathlib import Path

MOST = 256
"""Most systems allow a process 1024."""


class OpenFiles:
    """Files below `folder`, opened when first read; the one that was opened first is closed when there are too many."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder, self._most = folder, most
        self._handles: dict[str, int] = {}

    def read(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes of a file, fewer where it ends before; raises `OSError`."""
        handle = self._handles.get(name)
        if handle is None:
            handle = self._open(name)
        return os.pread(handle, length, offset)

    def _open(self, name: str) -> int:
        while len(self._handles) >= self._most:
            self.forget(next(iter(self._handles)))
        self._handles[name] = os.open(os.path.join(self._folder, name), os.O_RDONLY | os.O_CLOEXEC)
        return self._handles[name]

    def forget(self, name: str) -> None:
        """Close a file; it is opened again when it is read again."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Close all files."""
        for name in list(self._handles):
            self.forget(name)

    def __del__(self) -> None:
        self.close()
