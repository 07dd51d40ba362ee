"""Model cards as the Hugging Face hub reads them."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from stillhouse.provenance.files import read_json, write_text

TEMPLATE = "data/cards/model_card.md.j2"
WORKFLOW = Path(__file__).parents[3]


def write_model_card(
    recipe: dict[str, Any], digests: list[Path], metrics: Path, dataset: Path, target: Path
) -> dict[str, Any]:
    """Write the card of an export from its recipe, the digests of its files, metrics.jsonl and report.json."""
    files = [
        {"name": name, "suffix": file.stem, **entry}
        for file in digests
        for name, entry in read_json(file)["files"].items()
    ]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((WORKFLOW / TEMPLATE).read_text(encoding="utf-8"))
    losses = last_losses(metrics)
    values = {**recipe, "files": files, "losses": losses, "data": read_json(dataset)}
    write_text(target, template.render(values, dataset=recipe["dataset"]))
    return {"files": len(files), **losses}


def last_losses(metrics: Path) -> dict[str, float | None]:
    """The last training and validation losses of a metrics.jsonl, None where there is none."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line]
    last = {"train": None, "valid": None}
    for row in rows:
        last["train"] = row.get("loss", last["train"])
        last["valid"] = row.get("eval_loss", last["valid"])
    return last
