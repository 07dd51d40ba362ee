"""What of an input a build key counts, where that is less than its bytes."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = ("prompt", "completion", "chosen", "rejected", "tools")
"""What a model or a reader sees of a row; the other columns are its ancestry."""


UNCOUNTED = hashlib.sha256(b"").hexdigest()
"""Stands for an input that must be there, and that decides nothing."""


def texts_of(*names: str) -> Callable[[Any, dict[str, Any]], dict[str, str]]:
    """For `run_job(content=...)`: the inputs `names` count by their rows' texts, so that renaming a generation is no change."""
    return lambda inputs, recipe: {name: digest_texts(inputs.get(name)[0]) for name in names}


def digest_texts(path: Path) -> str:
    """A digest of a dataset's rows by their texts alone, in their order."""
    from stillhouse.provenance.digests import canonical_json
    from stillhouse.provenance.files import parquet_columns, stream_parquet_rows

    digest, there = hashlib.sha256(), parquet_columns(path)
    for row in stream_parquet_rows(path, [name for name in COLUMNS if name in there]):
        digest.update(canonical_json({name: value for name, value in row.items() if value}).encode() + b"\n")
    return digest.hexdigest()
