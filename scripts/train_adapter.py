"""Rule train_adapter: a LoRA or QLoRA adapter by TRL and PEFT."""

import os
from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import UNCOUNTED


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Train on the dataset's train split, measured on its valid split."""
    # Threads that wait by spinning make a step three times slower beside another busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from stillhouse.provenance.files import read_json
    from stillhouse.training.checks import Failure, refuse
    from stillhouse.training.settings import TrainSettings
    from stillhouse.training.train import train_adapter

    for report in inputs.get("preflight"):
        refuse(Failure(**failure) for failure in read_json(report)["failures"])
    settings = TrainSettings.model_validate(params.recipe["train"])
    init = inputs.get("init")
    facts = train_adapter(
        inputs.base.parent,
        inputs.train.parent,
        outputs.weights.parent,
        settings,
        Path(".stillhouse/checkpoints") / params.wildcards["adapter"],
        params.guards.get("max_training_minutes"),
        key=params.key,
        checkpoint_minutes=params.resources.get("checkpoint_minutes", 10),
        init=init[0].parent if init else None,
        base_name=params.recipe["base"],
    )
    weights = read_json(inputs.base_digests)["files"][inputs.base.name]["sha256"]
    return {**facts, "models": [{"name": params.recipe["base"], "backend": "transformers", "weights": weights}]}


def learned_columns(inputs: Files, recipe: Facts) -> dict[str, str]:
    """The build key counts what is trained on: renaming a generation changes the rows' ancestry, not the adapter.

    A preflight stands for nothing of its own: it is worked out from the same rows and recipe.
    """
    from stillhouse.training.rows import learned_digest, read_rows

    objective = recipe["train"]["objective"]
    splits = {"train": inputs.train, "valid": inputs.valid}
    digests = {name: learned_digest(read_rows(file, objective), objective) for name, file in splits.items()}
    return {**digests, "preflight": UNCOUNTED} if inputs.get("preflight") else digests


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=learned_columns)
