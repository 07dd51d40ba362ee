"""Rule write_dataset_card: what a dataset is, for its readers."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write the card and its plots from the dataset's report."""
    from stillhouse.datasets.card import write_dataset_card
    from stillhouse.datasets.settings import CardSettings

    settings = CardSettings.model_validate(params.recipe)
    return write_dataset_card(settings, inputs.report, outputs.card, outputs.lengths, outputs.mix)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
