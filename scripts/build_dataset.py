"""Rule build_dataset: answers filtered, mixed and split into training rows."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Build the dataset with its report of where every row went."""
    from stillhouse.datasets.build import build_dataset
    from stillhouse.datasets.settings import BuildSettings

    settings = BuildSettings.model_validate(params.recipe)
    answers, failures = ({file.parent.name: file for file in inputs.get(kind)} for kind in ("answers", "failures"))
    return build_dataset(settings, answers, inputs.get("held_out"), outputs.train.parent, failures=failures)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
