"""Rule convert_gguf: merged weights as f16 GGUF."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Convert by llama.cpp's own converter; the GGUF carries the build key that its record repeats."""
    from stillhouse.exports.convert import convert_gguf, converter_folder, export_metadata
    from stillhouse.llm.weights import write_digests

    name = params.recipe["export"]
    metadata = export_metadata(params.recipe, params.key)
    facts = convert_gguf(inputs.weights.parent, outputs.gguf, converter_folder(), name, metadata)
    write_digests(outputs.gguf.parent, [outputs.gguf.name], outputs.digests)
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
