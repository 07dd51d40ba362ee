"""Rule write_dataset_card: what a dataset is, for its readers."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write the card from the dataset's report."""
    from stillhouse.datasets.card import write_dataset_card
    from stillhouse.datasets.settings import CardSettings

    return write_dataset_card(CardSettings.model_validate(params.recipe), inputs.report, outputs.card)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
