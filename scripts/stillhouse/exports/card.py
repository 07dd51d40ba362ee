"""Model cards as the Hugging Face hub reads them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import ExportError
from stillhouse.exports.fidelity_table import fidelity_table
from stillhouse.exports.modelfile_warnings import warnings_in
from stillhouse.exports.scores import model_index, read_scores
from stillhouse.provenance.cards import render_card
from stillhouse.provenance.files import read_json, write_text

TEMPLATE = "data/cards/model_card.md.j2"


@dataclass(frozen=True)
class CardSources:
    """Files that a card may tell of besides those that every export has."""

    merged: Path | None = None
    adapter: Path | None = None
    fidelity: Path | None = None
    evaluations: Sequence[Path] = ()
    modelfile: Path | None = None


def write_model_card(
    recipe: dict[str, Any],
    digests: list[Path],
    metrics: Path,
    dataset: Path,
    target: Path,
    sources: CardSources = CardSources(),
) -> dict[str, Any]:
    """Write the card of an export from its recipe, the digests of its files, metrics.jsonl and report.json.

    `sources` adds the digests of the merged weights and of the adapter (with its base), the fidelity report,
    evaluations, and the Modelfile with its warnings. Facts: number of files, last losses, licence, and the terms that
    the study accepts. Raises `ExportError` for a last loss that is no finite number.
    """
    files = [
        {"name": name, "suffix": file.stem, **entry}
        for file in digests
        for name, entry in read_json(file)["files"].items()
    ]
    losses, data = last_losses(metrics), read_json(dataset)
    modelfile = warnings_in(sources.modelfile.read_text(encoding="utf-8")) if sources.modelfile else []
    fidelity = read_json(sources.fidelity) if sources.fidelity else None
    scores = [read_scores(report, recipe["adapter"]) for report in sources.evaluations]
    values = {
        **recipe,
        "files": files,
        "losses": losses,
        "trained": training_words(recipe["recipe"]["training"], metrics),
        "data": data,
        "flow": data["flow"],
        "merged": read_json(sources.merged)["files"] if sources.merged else {},
        "origin": _origin(sources.adapter),
        "fidelity": fidelity_table(fidelity) if fidelity else None,
        "scores": scores,
        "limits": [*_limits(data, fidelity, scores), *(f"In Ollama, {words}." for words in modelfile)],
    }
    write_text(target, render_card(TEMPLATE, front_matter(recipe, scores), values))
    accepted = [one["name"] for one in recipe["accepted"]]
    return {"files": len(files), **losses, "license": recipe["front"]["license"], "accepted_terms": accepted}


def front_matter(recipe: dict[str, Any], scores: list[dict[str, Any]]) -> dict[str, Any]:
    """The card's metadata in the keys that the hub reads."""
    index = model_index(recipe["export"], scores)
    return {
        **recipe["front"],
        "base_model_relation": "finetune",
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "tags": ["stillhouse", "lora", recipe["recipe"]["objective"]],
        **({"model-index": index} if index else {}),
    }


def _origin(digests: Path | None) -> list[dict[str, str]]:
    """The sha256 of the adapter's weights and of every file of the base that it was trained on."""
    if digests is None:
        return []
    held = read_json(digests)
    ours = [
        {"what": f"adapter, {name}", "sha256": held["files"][name]["sha256"]} for name in ("adapter_model.safetensors",)
    ]
    return ours + [{"what": f"base, {name}", "sha256": digest} for name, digest in sorted(held.get("base", {}).items())]


def _limits(data: dict[str, Any], fidelity: dict[str, Any] | None, scores: list[dict[str, Any]]) -> list[str]:
    """What speaks against the model, as far as files say it."""
    found = [f"It was trained on {data['splits']['train']} rows; what they do not touch it was not taught."]
    found += [f"Rounding: {words}." for words in (fidelity or {}).get("warnings", [])]
    if fidelity is None:
        found.append("What rounding to GGUF did to the adapter's effect was not measured.")
    for one in scores:
        found += [
            f"Evaluation {one['name']}: gate {gate['gate']} failed ({gate['observed']:g}, wanted {gate['direction']} "
            f"{gate['bound']:g})."
            for gate in one["gates"]
            if not gate["passed"] and gate["observed"] is not None
        ]
        found += [f"Evaluation {one['name']}: {words}" for words in one["warnings"]]
    if not scores:
        found.append("It was not evaluated.")
    return found


def last_losses(metrics: Path) -> dict[str, float | None]:
    """The last training and validation losses of a metrics.jsonl, None where there is none.

    Raises `ExportError` for one that is no finite number: such an adapter has learned nothing that can be shipped.
    """
    last: dict[str, float | None] = {"train": None, "valid": None}
    for row in _rows(metrics):
        last["train"] = row.get("loss", last["train"])
        last["valid"] = row.get("eval_loss", last["valid"])
    for name, loss in last.items():
        if loss is not None and not math.isfinite(loss):
            raise ExportError(f"{metrics}: the last {name} loss is {loss}, no number; the training has failed")
    return last


def training_words(training: Mapping[str, Any], metrics: Path) -> list[str]:
    """How long an adapter was trained and which of its weights were kept, in sentences, by its settings and metrics."""
    rows = _rows(metrics)
    steps = max((row["step"] for row in rows if "step" in row), default=None)
    bound = training.get("max_steps")
    length = f"at most {bound} optimiser steps" if bound else f"{training['epochs']:g} epochs"
    found = [f"length: {length}" + (f"; it took {steps} optimiser steps" if steps is not None else "")]
    if stopping := training.get("early_stopping"):
        found.append(
            f"early stopping: the training ends when the validation loss has not fallen by more than "
            f"{stopping['min_delta']:g} in {stopping['patience']} measurements in a row"
        )
    measured = [(row["eval_loss"], row["step"]) for row in rows if math.isfinite(row.get("eval_loss", math.nan))]
    if training.get("best") and measured:
        loss, step = min(measured)
        found.append(f"weights: those of step {step}, of the lowest validation loss ({loss:g})")
    else:
        found.append("weights: the last ones")
    return found


def _rows(metrics: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line]
