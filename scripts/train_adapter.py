"""Rule train_adapter: a LoRA or QLoRA adapter by TRL and PEFT."""

import os
from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Train on the dataset's train split, measured on its valid split."""
    # Threads that wait by spinning make a step three times slower beside another busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from stillhouse.training.settings import TrainSettings
    from stillhouse.training.train import train_adapter

    settings = TrainSettings.model_validate(params.recipe["train"])
    checkpoints = Path(".stillhouse/checkpoints") / params.wildcards["adapter"]
    return train_adapter(inputs.base.parent, inputs.train.parent, outputs.weights.parent, settings, checkpoints)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), keep=True)
