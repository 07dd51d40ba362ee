"""Atomic, deterministic writers, and readers for the formats that stages exchange."""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; on success it is fsynced and renamed to `path`, else removed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        _fsync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _fsync_folder(folder: Path) -> None:
    """Make a rename survive power loss; some network file systems refuse this, which is no error."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, with the newlines that `text` has."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys and a newline at the end."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON document."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_parquet(path: str | Path, rows: list[dict[str, Any]], schema: "pa.Schema") -> None:
    """Write `rows` (dicts with the schema's columns) as one parquet file, the same bytes for the same rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows, schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=10_000, store_schema=True)


@contextmanager
def parquet_sink(path: str | Path, schema: "pa.Schema", group_rows: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that takes one row after the other into the parquet file `path`, in flat memory.

    A thread writes, so that an event loop goes on meanwhile; at most one group waits for it. The file is there when the
    block ends well. The same rows and `group_rows` give the same bytes.
    """
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    def write_group(rows: list[dict[str, Any]]) -> None:
        # by way of JSON: pyarrow imports pandas, a third of a second, for every other conversion of Python's values
        data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        form = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
        read = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
        writer.write_table(pj.read_json(BytesIO(data), read, form))

    waiting: list[dict[str, Any]] = []
    writing: list[Future[None]] = []

    def hand_over() -> None:
        for earlier in writing:
            earlier.result()
        writing[:] = [thread.submit(write_group, waiting.copy())]
        waiting.clear()

    def write(row: dict[str, Any]) -> None:
        waiting.append(row)
        if len(waiting) == group_rows:
            hand_over()

    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ThreadPoolExecutor(1) as thread,
    ):
        yield write
        if waiting:
            hand_over()
        for last in writing:
            last.result()


def stream_parquet_rows(path: str | Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file, one row group in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield from file.read_row_group(number, columns).to_pylist()


def parquet_columns(path: str | Path) -> list[str]:
    """Names of a parquet file's columns; artefacts of older versions lack some."""
    import pyarrow.parquet as pq

    return pq.read_schema(path).names


def read_parquet_rows(path: str | Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Read a parquet file as a list of dicts; lists of JSON values (messages with tool calls) come as what they hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=columns)
    rows = table.to_pylist()
    for name in [field.name for field in table.schema if field.type == pa.list_(pa.json_())]:
        for row in rows:
            row[name] = row[name] and [json.loads(item) for item in row[name]]
    return rows
