"""Looks at a training before any accelerator is asked for: every row as its trainer will see it, and what it will take.

Needs the base's tokenizer and config.json, and no weights; seconds on a processor.
"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stillhouse.provenance.files import read_json
from stillhouse.training.bases import read_base
from stillhouse.training.checks import Examined, Failure, examine, model_failures
from stillhouse.training.costs import Lengths, memory, seconds, steps_of, training_flops
from stillhouse.training.rows import read_rows
from stillhouse.training.settings import TrainSettings
from stillhouse.training.shape import shape_of
from stillhouse.training.targets import target_failures
from stillhouse.training.tokens import load_tokenizer

LISTED = 1000
"""Failures and warnings that the report lists; all are counted."""
UNKNOWN: dict[str, Any] = {"training_flops": None, "seconds": None, "parameters": None, "memory": []}
"""Costs of a model whose shape is not known, or without a row."""


def preflight(base: Path, splits: dict[str, Path], settings: TrainSettings) -> dict[str, Any]:
    """Report on a training of the base in folder `base` on the parquet files `splits` (train, valid).

    The report holds `failures` (empty when the training may start), `warnings`, token counts by split, `steps`,
    `training_flops`, and estimates of `seconds` and memory; the same inputs give the same report on every machine.
    """
    tokenizer, config = load_tokenizer(base), read_json(base / "config.json")
    failures = [
        *model_failures(tokenizer, config),
        *setting_failures(settings, splits),
        *target_failures(base, settings.lora.targets),
    ]
    known = read_base(base)
    examined: dict[str, Examined] = {}
    if tokenizer.chat_template and tokenizer.eos_token_id is not None:
        for split, file in splits.items():
            rows = read_rows(file, settings.objective)
            examined[split] = examine(rows, split, settings.objective, tokenizer, settings.training.max_length, known)
            failures += examined[split].failures
    found = dict(sorted(Counter(failure.name for failure in failures).items()))
    return {
        "objective": settings.objective,
        "failures": [asdict(failure) for failure in failures[:LISTED]],
        "failure_counts": found,
        "warnings": _warnings(examined),
        **_costs(examined, config, settings),
    }


def setting_failures(settings: TrainSettings, splits: dict[str, Path]) -> list[Failure]:
    """What the recipe asks for and the dataset cannot give."""
    found = []
    measured = "valid" in splits and bool(read_rows(splits["valid"], settings.objective))
    wanted = [key for key in ("early_stopping", "best") if getattr(settings.training, key)]
    if wanted and not measured:
        words = f"training.{wanted[0]} goes by the validation loss, and the valid split has no rows"
        found.append(Failure("no_validation_rows", words, "valid"))
    if settings.training.packing and settings.objective != "sft":
        found.append(Failure("packing_not_sft", f"training.packing is for sft, not for {settings.objective}"))
    return found


def _warnings(examined: dict[str, Examined]) -> list[str]:
    """What is no failure and still worth a look."""
    told = []
    for split, found in examined.items():
        moved = [number for number, sides in enumerate(found.rows) if any(side.left_out for side in sides)]
        if moved:
            told.append(
                f"{split}: in {len(moved)} rows (the first is row {moved[0]}) the prompt alone ends in tokens that do "
                "not stand before the answer; the model is asked with another opening than it was trained with"
            )
    return told


def _costs(examined: dict[str, Examined], config: dict[str, Any], settings: TrainSettings) -> dict[str, Any]:
    batch = settings.training.batch_size
    lengths = {split: Lengths.of(found.rows, batch) for split, found in examined.items()}
    tokens = {split: asdict(found) for split, found in lengths.items()}
    shape, train = shape_of(config), lengths.get("train")
    if train is None:
        return {"tokens": tokens, "steps": None, **UNKNOWN}
    steps = steps_of(train.rows, settings)
    if shape is None:
        return {"tokens": tokens, "steps": steps, **UNKNOWN}
    asked = settings.training.precision
    precisions = ["bf16", "fp32"] if asked == "auto" else [asked]
    flops = training_flops(shape, train, settings, steps)
    return {
        "tokens": tokens,
        "steps": steps,
        "training_flops": flops,
        "seconds": seconds(flops, steps),
        "parameters": {
            "base": shape.linear_parameters + shape.other_parameters,
            "trained": shape.lora_parameters(settings.lora.rank, settings.lora.targets),
        },
        "memory": [memory(shape, train, settings, one, kept) for one in precisions for kept in (False, True)],
    }
