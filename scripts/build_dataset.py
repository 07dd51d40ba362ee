"""Rule build_dataset: answers filtered, mixed and split into training rows."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Build the dataset with its card and its report of what every filter took."""
    from stillhouse.datasets.build import build_dataset
    from stillhouse.datasets.settings import BuildSettings

    settings = BuildSettings.model_validate(params.recipe)
    answers = {file.parent.name: file for file in inputs.get("answers")}
    return build_dataset(settings, answers, inputs.get("held_out"), outputs.train.parent)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
