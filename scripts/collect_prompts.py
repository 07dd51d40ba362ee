"""Rules collect_prompts and collect_evaluation_prompts: prompts of files or a dataset as parquet."""

from contextlib import nullcontext

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Read and check the prompts, sorted by prompt_id, without those that are taken down; list what is rejected."""
    from stillhouse.prompts.collect import CollectSettings, collect, tell, write_prompts
    from stillhouse.prompts.fetch import REJECTED_SCHEMA
    from stillhouse.provenance.files import parquet_sink

    settings = CollectSettings.model_validate(params.recipe)
    listed = outputs.get("rejected")
    with parquet_sink(listed[0], REJECTED_SCHEMA, 10_000) if listed else nullcontext() as reject:
        collected = collect(inputs.get("source"), settings, reject)
        tell(settings, collected)
        write_prompts(outputs.prompts, collected.kept)
    return collected.facts()


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
