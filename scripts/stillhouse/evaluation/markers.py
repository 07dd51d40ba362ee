"""Scores answers by the markers that they hold."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.rows import ABOUT, about, read_responses
from stillhouse.provenance.files import write_parquet
from stillhouse.study.markers import Markers, load_markers

MARKERS = pa.schema(
    [
        *ABOUT.items(),
        ("raw", pa.int32()),
        ("capped", pa.float64()),
        ("matched", pa.list_(pa.string())),
    ]
)


def score_markers(responses: list[Path], markers: Path, target: Path) -> dict[str, Any]:
    """Write one row an answer to `target`: raw (different markers found) and capped (min(raw / cap, 1)).

    Facts: number of answers scored. Raises `InputError` for a bad markers file.
    """
    known = load_markers(markers)
    rows = [_score(row, known) for row in read_responses(responses)]
    write_parquet(target, rows, MARKERS)
    return {"answers": len(rows)}


def _score(row: dict[str, Any], markers: Markers) -> dict[str, Any]:
    matched = markers.hits(row["answer"])
    return {
        **about(row),
        "raw": len(matched),
        "capped": min(len(matched) / markers.cap, 1.0),
        "matched": matched,
    }
