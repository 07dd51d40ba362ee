"""Rule collect_answers: prompts with answers that exist already, as a generation writes its answers."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Read and check the rows, sorted by prompt and sample, without those that are taken down; list what is rejected."""
    from stillhouse.prompts.answered import write_answers
    from stillhouse.prompts.collect import CollectSettings, collect, tell
    from stillhouse.prompts.fetch import REJECTED_SCHEMA
    from stillhouse.provenance.files import parquet_sink

    settings = CollectSettings.model_validate(params.recipe)
    with parquet_sink(outputs.rejected, REJECTED_SCHEMA, 10_000) as reject:
        collected = collect(inputs.get("source"), settings, reject)
        tell(settings, collected)
        write_answers(outputs.answers, collected.kept, settings.set)
    return collected.facts()


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
