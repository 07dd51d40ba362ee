"""Calls as a table for use elsewhere: parquet or JSON lines, a batch at a time."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import LedgerError
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import atomic_path
from stillhouse.provenance.ledger_calls import Answered

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
BATCH = 1000
KINDS = (".parquet", ".jsonl")


def export_calls(lines: Iterable[Answered], file: Path) -> int:
    """Write the lines that count to `file`, whose suffix says how; returns how many. Raises `LedgerError`."""
    if file.suffix not in KINDS:
        raise LedgerError(f"{file}: the name must end in {' or '.join(KINDS)}")
    rows = (_row(one) for one in lines if one.counts)
    try:
        with atomic_path(file) as temporary:
            return (_write_parquet if file.suffix == ".parquet" else _write_lines)(rows, temporary)
    except OSError as error:
        raise LedgerError(f"{file}: {error.strerror or error}") from error


def _row(one: Answered) -> Row:
    """A call in columns. What differs from backend to backend (model, sampling) is JSON in a text."""
    call = one.call
    request, answer, usage = call["request"], call["answer"], call["usage"]
    return {
        "digest": one.digest,
        "at": call["at"],
        "model": call["name"],
        "served_model": call["served_model"],
        "writer": one.writer,
        "identity": canonical_json(request["model"]),
        "messages": request["messages"],
        "sampling": canonical_json(request["sampling"]),
        "grammar": request["grammar"],
        "index": request["index"],
        "request": canonical_json(request),
        "answer": answer["text"],
        "reasoning": answer["reasoning"],
        "finish_reason": answer["finish_reason"],
        "flags": answer["flags"],
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "usd": call["usd"],
        "latency_s": call["latency_s"],
        "tries": call["tries"],
    }


def _write_lines(rows: Iterator[Row], file: Path) -> int:
    count = 0
    with open(file, "w", encoding="ascii") as stream:
        for row in rows:
            stream.write(json.dumps(row) + "\n")
            count += 1
    return count


def _write_parquet(rows: Iterator[Row], file: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = _schema(), 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            spelt = [{**_spelt(row), "at": datetime.fromisoformat(row["at"])} for row in batch]
            writer.write_table(pa.Table.from_pylist(spelt, schema=schema))
            count += len(batch)
    return count


def _schema() -> "pa.Schema":
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    kinds = {
        "at": pa.timestamp("us", tz="UTC"),
        "messages": pa.list_(message),
        "flags": pa.list_(pa.string()),
        "index": pa.int64(),
        "prompt_tokens": pa.int64(),
        "completion_tokens": pa.int64(),
        "usd": pa.float64(),
        "latency_s": pa.float64(),
        "tries": pa.int64(),
    }
    texts = ("digest", "at", "model", "served_model", "writer", "identity", "messages", "sampling", "grammar", "index")
    answers = ("request", "answer", "reasoning", "finish_reason", "flags", "prompt_tokens", "completion_tokens")
    names = (*texts, *answers, "usd", "latency_s", "tries")
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def _spelt(value: Any) -> Any:
    """A value whose texts parquet can hold: half a surrogate pair, which some servers send, has no UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_spelt(item) for item in value]
    return {key: _spelt(item) for key, item in value.items()} if isinstance(value, dict) else value
