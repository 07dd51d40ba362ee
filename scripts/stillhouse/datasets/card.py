"""The dataset card: README.md with the YAML front matter by which the hub and `load_dataset` find the splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.split import SPLITS

TEMPLATE = "data/cards/dataset_card.md.j2"
WORKFLOW = Path(__file__).resolve().parents[3]

# The hub's name of the middle split is "validation"; the file keeps the study's word.
HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def front_matter(settings: BuildSettings, splits: Mapping[str, int]) -> dict[str, Any]:
    """The card's metadata in the keys that the hub reads; `splits` are the rows of each split.

    Empty splits are left out, since `load_dataset` (datasets 5.2) refuses a split without rows, and all others with it.
    """
    rows = sum(splits.values())
    told = [name for name in SPLITS if splits[name]] or ["train"]
    files = [{"split": HUB_SPLITS[name], "path": f"{name}.parquet"} for name in told]
    license_name = {"license": settings.dataset.licence} if settings.dataset.licence else {}
    return {
        "pretty_name": settings.name,
        **license_name,
        "task_categories": ["text-generation"],
        "size_categories": [next((name for bound, name in _SIZES if rows < bound), "n>1M")],
        "tags": ["stillhouse", "trl", settings.dataset.format, "synthetic"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def render_card(settings: BuildSettings, report: dict[str, Any], columns: list[str]) -> str:
    """The card as markdown; `report` is what report.json holds."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    template = environment.from_string((WORKFLOW / TEMPLATE).read_text(encoding="utf-8"))
    metadata = yaml.safe_dump(front_matter(settings, report["splits"]), sort_keys=False, allow_unicode=True)
    return template.render(
        metadata=metadata, name=settings.name, dataset=settings.dataset, report=report, columns=columns
    )
