"""Merges a generation's shards, in flat memory. Knows nothing of the engine, whose changes must not merge anew."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.errors import FailureShareError, RecordError
from stillhouse.provenance.files import parquet_sink, stream_parquet_rows
from stillhouse.provenance.layout import refused
from stillhouse.tournament.columns import ANSWERS, FAILURES, SHARD, SHARD_ROWS, STOPPED, place_of
from stillhouse.tournament.settings import MergeSettings

WAYS = 64
"""Files that are merged at once: each has one row group in memory."""

Row = dict[str, Any]


def merge_shards(shards: list[Path], settings: MergeSettings, answers: Path, failures: Path) -> dict[str, Any]:
    """Join shards, sorted by prompt_id, set, id and sample, into `answers` and `failures`.

    Raises `FailureShareError` when too many failed. The failures are written before that, and once more beside, where
    Snakemake does not delete them with a failed job's outputs.
    """
    total, prompts, failed = 0, 0, []
    kept = refused(failures)
    kept.unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".stage-merge-", dir=answers.parent) as folder,
        parquet_sink(answers, ANSWERS, SHARD_ROWS) as answered,
    ):
        for row in _sorted(shards, Path(folder)):
            total += 1
            prompts += row["sample"] == 0
            if row["stage"] is None:
                answered(_only(row, ANSWERS))
            else:
                failed.append(_only(row, FAILURES))
    _write(failures, FAILURES, failed)
    unasked = any(row["stage"] == STOPPED for row in failed)  # no larger share makes answers of these
    if unasked or len(failed) > settings.failures.max_share * total:
        _write(kept, FAILURES, failed)
        first = next((row for row in failed if row["stage"] != STOPPED), failed[0])
        unit = "prompts" if prompts == total else f"answers to {prompts} prompts"
        raise FailureShareError(
            f"generation {settings.generation}: {len(failed)} of {total} {unit} failed, more than failures.max_share "
            f"{settings.failures.max_share:g} allows; first: {first['id']}: {first['stage']}: {first['reason']}; all of "
            f"them: {failures}. Once the cause is mended: python scripts/retry.py {settings.generation}"
        )
    return {"prompts": prompts, "answered": total - len(failed), "failed": len(failed)}


def _sorted(shards: list[Path], folder: Path) -> Iterator[Row]:
    """All rows in order; more files than `WAYS` are merged in steps, through `folder`."""
    files, number = list(shards), 0
    while len(files) > WAYS:
        group, files = files[:WAYS], files[WAYS:]
        merged = folder / f"{number}.parquet"
        _write(merged, SHARD, _merged(group))
        files.append(merged)
        number += 1
    return _merged(files)


def _merged(files: list[Path]) -> Iterator[Row]:
    return heapq.merge(*map(_checked, files), key=place_of)


def _checked(file: Path) -> Iterator[Row]:
    """The rows of a shard with all its columns; raises `RecordError` when they are not in order."""
    before, empty = ("", "", "", 0), dict.fromkeys(SHARD.names)
    for row in stream_parquet_rows(file):
        place = place_of(row)
        if place < before:
            raise RecordError(f"{file}: rows are not sorted by prompt_id; delete the file and run again")
        before = place
        yield {**empty, **row, "sample": place[-1]}


def _write(path: Path, schema: pa.Schema, rows: Iterable[Row]) -> None:
    with parquet_sink(path, schema, SHARD_ROWS) as write:
        for row in rows:
            write(row)


def _only(row: Row, schema: pa.Schema) -> Row:
    return {name: row[name] for name in schema.names}


def remove_stale(shards: list[Path]) -> None:
    """Remove shard files of an earlier, larger number of shards, with their records."""
    current = {shard.name for shard in shards}
    for file in shards[0].parent.glob("*.parquet"):
        if file.name not in current and file.stem.isdigit():
            file.with_name(f"{file.name}.record.json").unlink(missing_ok=True)
            file.unlink()
