"""Jobs that read a dataset's texts alone count nothing else of it."""

from pathlib import Path

import pyarrow as pa
import pytest

from stillhouse.provenance.files import write_parquet
from stillhouse.provenance.texts import digest_texts

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [("prompt", MESSAGES), ("completion", MESSAGES), ("generation", pa.string()), ("tools", pa.string())]
)


def row(text: str, generation: str = "plans", tools: str | None = None) -> dict:
    turns = [{"role": "user", "content": "?"}], [{"role": "assistant", "content": text}]
    return {"prompt": turns[0], "completion": turns[1], "generation": generation, "tools": tools}


def digest(folder: Path, *rows: dict, schema: pa.Schema = SCHEMA) -> str:
    write_parquet(folder / "rows.parquet", [{name: one[name] for name in schema.names} for one in rows], schema)
    return digest_texts(folder / "rows.parquet")


def test_ancestry_and_empty_columns_do_not_count(tmp_path: Path) -> None:
    one = digest(tmp_path, row("a"), row("b"))
    assert one == digest(tmp_path, row("a", "renamed"), row("b", "renamed"))
    assert one == digest(tmp_path, row("a"), row("b"), schema=SCHEMA.remove(3))


@pytest.mark.parametrize(
    "others", [[row("a")], [row("b"), row("a")], [row("a"), row("c")], [row("a"), row("b", tools="[]")]]
)
def test_texts_and_their_order_do(tmp_path: Path, others: list[dict]) -> None:
    assert digest(tmp_path, row("a"), row("b")) != digest(tmp_path, *others)
