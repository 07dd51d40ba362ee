"""Rule train_adapter: a LoRA or QLoRA adapter by TRL and PEFT."""

import os
from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Train on the dataset's train split, measured on its valid split."""
    # Threads that wait by spinning make a step three times slower beside another busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from stillhouse.provenance.files import read_json
    from stillhouse.training.settings import TrainSettings
    from stillhouse.training.train import train_adapter

    settings = TrainSettings.model_validate(params.recipe["train"])
    limit = params.guards.get("max_training_minutes")
    checkpoints = Path(".stillhouse/checkpoints") / params.wildcards["adapter"]
    facts = train_adapter(inputs.base.parent, inputs.train.parent, outputs.weights.parent, settings, checkpoints, limit)
    weights = read_json(inputs.base_digests)["files"][inputs.base.name]["sha256"]
    return {**facts, "models": [{"name": params.recipe["base"], "backend": "transformers", "weights": weights}]}


def learned_columns(inputs: Files, recipe: Facts) -> dict[str, str]:
    """The build key counts what is trained on: renaming a generation changes the rows' ancestry, not the adapter."""
    from stillhouse.provenance.digests import digest_json
    from stillhouse.provenance.files import read_parquet_rows

    sides = ["completion"] if recipe["train"]["objective"] == "sft" else ["chosen", "rejected"]
    splits = {"train": inputs.train, "valid": inputs.valid}
    return {name: digest_json(read_parquet_rows(file, ["prompt", *sides])) for name, file in splits.items()}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=learned_columns)
