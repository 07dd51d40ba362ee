"""Model cards as the Hugging Face hub reads them."""

import json
from pathlib import Path
from typing import Any

from stillhouse.provenance.cards import render_card
from stillhouse.provenance.files import read_json, write_text

TEMPLATE = "data/cards/model_card.md.j2"


def write_model_card(
    recipe: dict[str, Any], digests: list[Path], metrics: Path, dataset: Path, target: Path
) -> dict[str, Any]:
    """Write the card of an export from its recipe, the digests of its files, metrics.jsonl and report.json.

    Facts: number of files, last losses, licence, and the terms that the study accepts.
    """
    files = [
        {"name": name, "suffix": file.stem, **entry}
        for file in digests
        for name, entry in read_json(file)["files"].items()
    ]
    losses, data = last_losses(metrics), read_json(dataset)
    values = {**recipe, "files": files, "losses": losses, "data": data, "flow": data["flow"]}
    write_text(target, render_card(TEMPLATE, front_matter(recipe), values))
    accepted = [one["name"] for one in recipe["accepted"]]
    return {"files": len(files), **losses, "license": recipe["front"]["license"], "accepted_terms": accepted}


def front_matter(recipe: dict[str, Any]) -> dict[str, Any]:
    """The card's metadata in the keys that the hub reads."""
    return {
        **recipe["front"],
        "base_model_relation": "finetune",
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "tags": ["stillhouse", "lora", recipe["recipe"]["objective"]],
    }


def last_losses(metrics: Path) -> dict[str, float | None]:
    """The last training and validation losses of a metrics.jsonl, None where there is none."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line]
    last = {"train": None, "valid": None}
    for row in rows:
        last["train"] = row.get("loss", last["train"])
        last["valid"] = row.get("eval_loss", last["valid"])
    return last
