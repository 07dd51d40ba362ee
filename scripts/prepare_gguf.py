"""Rule prepare_gguf: the GGUF of a local model."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Copy the GGUF that the study names, or convert a Hugging Face directory."""
    from stillhouse.llm.weights import install_gguf, write_digests

    if params.recipe["source"] == "huggingface":
        from stillhouse.exports.convert import convert_gguf, converter_folder

        name = params.wildcards["model"]
        facts = convert_gguf(inputs.source.parent, outputs.gguf, converter_folder(), name, {})
    else:
        source = "embedded" if params.recipe["source"] == "embedded" else str(inputs.get("source")[0])
        facts = install_gguf(source, outputs.gguf)
    write_digests(outputs.gguf.parent, [outputs.gguf.name], outputs.digests)
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
