"""Rule train_adapter: a LoRA or QLoRA adapter by TRL and PEFT."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Train on the dataset's train split, measured on its valid split."""
    from stillhouse.training.settings import TrainSettings
    from stillhouse.training.train import train_adapter

    settings = TrainSettings.model_validate(params.recipe["train"])
    checkpoints = Path(".stillhouse/checkpoints") / params.wildcards["adapter"]
    return train_adapter(inputs.base.parent, inputs.train.parent, outputs.weights.parent, settings, checkpoints)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), keep=True)
