"""Rule write_modelfile: how Ollama runs an export."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write template, stops and context for the first quantisation, which has to answer as the merged model does."""
    from stillhouse.exports.modelfile import write_modelfile

    return write_modelfile(inputs.gguf, outputs.modelfile, params.recipe["context"], inputs.weights.parent)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
