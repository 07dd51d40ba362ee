"""Rule write_model_card: what an export is, for its readers."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write the card from digests, metrics, the dataset's report, and what was measured of the export."""
    from stillhouse.exports.card import CardSources, write_model_card

    merged, adapter, fidelity, modelfile = (
        next(iter(inputs.get(name)), None) for name in ("merged", "adapter_digests", "fidelity", "modelfile")
    )
    sources = CardSources(merged, adapter, fidelity, inputs.get("evaluations"), modelfile)
    return write_model_card(params.recipe, inputs.get("digests"), inputs.metrics, inputs.dataset, outputs.card, sources)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
