"""The dataset card: README.md with the YAML front matter by which the hub and `load_dataset` find the splits.

A job of its own writes it: a corrected licence must not build the dataset again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.datasets.rows import SCHEMAS
from stillhouse.datasets.settings import CardSettings
from stillhouse.datasets.split import SPLITS
from stillhouse.provenance.cards import render_card
from stillhouse.provenance.files import read_json, write_text

TEMPLATE = "data/cards/dataset_card.md.j2"

# The hub's name of the middle split is "validation"; the file keeps the study's word.
HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_dataset_card(settings: CardSettings, report: Path, target: Path) -> dict[str, Any]:
    """Write the card to `target` from the dataset's report.json. Facts: rows and licence."""
    told = read_json(report)
    write_text(target, render_dataset_card(settings, told))
    return {"rows": told["rows"], "license": settings.front["license"]}


def front_matter(settings: CardSettings, splits: Mapping[str, int]) -> dict[str, Any]:
    """The card's metadata in the keys that the hub reads; `splits` are the rows of each split.

    Empty splits are left out, since `load_dataset` (datasets 5.2) refuses a split without rows, and all others with it.
    """
    rows = sum(splits.values())
    told = [name for name in SPLITS if splits[name]] or ["train"]
    files = [{"split": HUB_SPLITS[name], "path": f"{name}.parquet"} for name in told]
    return {
        "pretty_name": settings.name,
        **settings.front,
        "task_categories": ["text-generation"],
        "size_categories": [next((name for bound, name in _SIZES if rows < bound), "n>1M")],
        "tags": ["stillhouse", "trl", settings.dataset.format, "synthetic"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def render_dataset_card(settings: CardSettings, report: dict[str, Any]) -> str:
    """The card as markdown; `report` is what report.json holds."""
    values = {
        "name": settings.name,
        "dataset": settings.dataset,
        "report": report,
        "flow": report["flow"],
        "columns": SCHEMAS[settings.dataset.format].names,
        "parties": settings.parties,
    }
    return render_card(TEMPLATE, front_matter(settings, report["splits"]), values)
