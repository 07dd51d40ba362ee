"""Rule measure_importance: which inputs of each matrix an export uses on its training rows."""

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import texts_of


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Let the f16 GGUF read training rows."""
    from stillhouse.exports.held_out import read_passages
    from stillhouse.exports.importance import MOST_ROWS, MOST_TOKENS, measure_importance
    from stillhouse.llm.weights import load_tokenizer

    tokenizer = load_tokenizer(inputs.rest[0].parent)
    _, passages = read_passages({"train": inputs.train}, MOST_ROWS, MOST_TOKENS, tokenizer)
    return measure_importance(inputs.source, passages, outputs.importance)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=texts_of("train"))
