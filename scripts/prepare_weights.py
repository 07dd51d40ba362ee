"""Rule prepare_weights: a local model as safetensors with tokenizer, checked against its GGUF."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Dequantise the model's GGUF, or copy a Hugging Face directory; measure the parity of both engines."""
    from stillhouse.llm.weights import PARITY_TEXT, install_weights, parity, write_digests

    folder = outputs.weights.parent
    gguf = inputs.get("gguf")
    source = str(gguf[0]) if gguf else str(inputs.get("source")[0].parent)
    facts = install_weights(source, gguf[0] if gguf else None, folder)
    if gguf:
        facts["parity"] = parity(gguf[0], folder, PARITY_TEXT)
    write_digests(folder, [path.name for path in [outputs.weights, *outputs.rest]], outputs.digests)
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
