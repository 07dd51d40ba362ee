"""What parsing a source file told, kept by the file's content: half of Snakemake's start would be spent on it again."""

import atexit
import contextlib
import json
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_file, digest_json
from stillhouse.provenance.files import write_json

FILE = Path(".stillhouse/parsed.json")
MOST = 4096  # sources of some twenty versions of the workflow; then those of this run alone are kept


class Parsed:
    """A dictionary from a source file's sha256 to plain values, in a file of the working directory.

    `maker` is the file whose code made the values: when it changes, all of them are made anew, and so they are when the
    file does not agree with its own digest. Where it cannot be written nothing is kept, and nothing is lost but time.
    """

    def __init__(self, maker: Path, file: Path = FILE) -> None:
        self.file, self.maker = file.absolute(), digest_file(maker)
        self.used: dict[str, Any] = {}
        self.kept = self._read()
        self.changed = False

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.file.read_bytes())
            agrees = found["maker"] == self.maker and found["digest"] == digest_json(found["sources"])
            return found["sources"] if agrees else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def get(self, digest: str) -> Any:
        """The value of a source file with that sha256, None where it has not been parsed yet."""
        if digest in self.kept:
            self.used[digest] = self.kept[digest]
        return self.used.get(digest)

    def put(self, digest: str, value: Any) -> None:
        """Remember a value; it is written when the process ends, with all others."""
        if not self.changed:
            atexit.register(self.save)
        self.used[digest] = value
        self.changed = True

    def save(self) -> None:
        """Write what is new, if anything is."""
        if not self.changed:
            return
        atexit.unregister(self.save)
        self.kept = {**self.kept, **self.used} if len(self.kept) < MOST else dict(self.used)
        self.changed = False
        with contextlib.suppress(OSError, UnicodeEncodeError):
            self.file.parent.mkdir(exist_ok=True)
            write_json(self.file, {"maker": self.maker, "digest": digest_json(self.kept), "sources": self.kept})
