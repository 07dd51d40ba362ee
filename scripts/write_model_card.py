"""Rule write_model_card: what an export is, for its readers."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write the card from digests, metrics and the dataset's report."""
    from stillhouse.exports.card import write_model_card

    return write_model_card(params.recipe, inputs.get("digests"), inputs.metrics, inputs.dataset, outputs.card)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
