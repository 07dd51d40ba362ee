"""Rule merge_adapter: base and adapter as one model in full precision."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Merge the adapter into its base."""
    from stillhouse.exports.merge import merge_adapter
    from stillhouse.llm.weights import write_digests

    folder = outputs.weights.parent
    facts = merge_adapter(inputs.base.parent, inputs.adapter.parent, folder)
    write_digests(folder, [path.name for path in [outputs.weights, *outputs.rest]], outputs.digests)
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
