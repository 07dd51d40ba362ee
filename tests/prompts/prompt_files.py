"""What tests of prompt sources share: writing files of every format, and collecting them."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.prompts.collect import Collected, CollectSettings, collect

Row = dict[str, Any]
ENDINGS = ("jsonl", "json", "csv", "tsv", "parquet", "txt")


def as_bytes(rows: list[Row], ending: str) -> bytes:
    """Rows as a file of one format; plain lines hold their prompts only."""
    if ending == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if ending == "json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    if ending == "txt":
        return "".join(row["prompt"] + "\n" for row in rows).encode()
    if ending == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, delimiter="," if ending == "csv" else "\t")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def jsonl_of(rows: list[Row]) -> bytes:
    """Rows as JSON lines, with every character that JSON can escape escaped."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table_of(columns: "pa.Table | dict[str, pa.Array]") -> bytes:
    """Columns as a parquet file."""
    sink = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink)
    return sink.getvalue()


def put(folder: Path, name: str, content: bytes | list[Row]) -> Path:
    """Write a file; rows as its ending says, packed where it ends with .gz."""
    file = folder / name
    if isinstance(content, list):
        content = as_bytes(content, name.removesuffix(".gz").rpartition(".")[2])
        content = gzip.compress(content) if name.endswith(".gz") else content
    file.write_bytes(content)
    return file


def gather(files: Path | list[Path], **settings: Any) -> tuple[Collected, list[Row]]:
    """A collected set and its rejected rows."""
    rejected: list[Row] = []
    given = CollectSettings.model_validate({"set": "s", **settings})
    found = collect(files if isinstance(files, list) else [files], given, rejected.append)
    facts = found.facts()
    assert facts["lines"] == sum(
        facts[key]
        for key in ("prompts", "excluded", "over_limit", "not_sampled", "other_categories", "repeated", "rejected")
    )
    assert facts["rejected"] == sum(facts["reasons"].values())
    if given.bad_rows == "reject":
        assert facts["rejected"] == len(rejected)
    return found, rejected


def rows(files: Path | list[Path], **settings: Any) -> list[Row]:
    """The kept rows of a set."""
    return gather(files, **settings)[0].kept.to_pylist()
