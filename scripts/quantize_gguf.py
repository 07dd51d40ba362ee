"""Rule quantize_gguf: one quantisation of an export."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Quantise the f16 GGUF, by its importance matrix where the study wants one."""
    from stillhouse.exports.quantize import quantize_gguf
    from stillhouse.llm.weights import write_digests

    importance = next(iter(inputs.get("importance")), None)
    facts = quantize_gguf(inputs.source, outputs.gguf, params.recipe["quant"], importance=importance)
    write_digests(outputs.gguf.parent, [outputs.gguf.name], outputs.digests)
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
