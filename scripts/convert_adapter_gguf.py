"""Rule convert_adapter_gguf: an adapter alone as GGUF."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Convert by llama.cpp's own converter; the GGUF carries the build key that its record repeats."""
    from stillhouse.exports.convert import convert_adapter_gguf, converter_folder, export_metadata
    from stillhouse.llm.weights import write_digests

    name = f"{params.recipe['export']}-adapter"
    metadata = export_metadata(params.recipe, params.key)
    adapter, base = inputs.adapter.parent, inputs.base.parent
    facts = convert_adapter_gguf(adapter, base, outputs.gguf, converter_folder(), name, metadata)
    write_digests(outputs.gguf.parent, [outputs.gguf.name], outputs.digests)
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
