"""Merges a generation's shards. Knows nothing of the engine, whose changes must not merge anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import FailureShareError
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.tournament.columns import ANSWERS, FAILURES
from stillhouse.tournament.settings import MergeSettings


def merge_shards(shards: list[Path], settings: MergeSettings, answers: Path, failures: Path) -> dict[str, Any]:
    """Join shards, sorted by prompt_id, into `answers` and `failures`.

    Raises `FailureShareError` when too many failed; `failures` is written before that, so that the reasons
    can be read.
    """
    rows = sorted((row for shard in shards for row in read_parquet_rows(shard)), key=lambda row: row["prompt_id"])
    failed = [row for row in rows if row["stage"] is not None]
    answered = [row for row in rows if row["stage"] is None]
    write_parquet(failures, list(_only(failed, FAILURES)), FAILURES)
    write_parquet(answers, list(_only(answered, ANSWERS)), ANSWERS)
    share = len(failed) / len(rows) if rows else 0.0
    kept = failures.with_name(f"refused-{failures.name}")
    kept.unlink(missing_ok=True)
    if share > settings.failures.max_share:
        write_parquet(kept, list(_only(failed, FAILURES)), FAILURES)
        raise FailureShareError(
            f"generation {settings.generation}: {len(failed)} of {len(rows)} prompts failed, more than "
            f"failures.max_share {settings.failures.max_share:g} allows; first: {failed[0]['id']}: "
            f"{failed[0]['stage']}: {failed[0]['reason']}; all of them: {kept}"
        )
    return {"prompts": len(rows), "answered": len(answered), "failed": len(failed)}


def remove_stale(shards: list[Path]) -> None:
    """Remove shard files of an earlier, larger number of shards, with their records."""
    current = {shard.name for shard in shards}
    for file in shards[0].parent.glob("*.parquet"):
        if file.name not in current and file.stem.isdigit():
            file.with_name(f"{file.name}.record.json").unlink(missing_ok=True)
            file.unlink()


def _only(rows: list[dict[str, Any]], schema: pa.Schema) -> Iterator[dict[str, Any]]:
    return ({name: row[name] for name in schema.names} for row in rows)
