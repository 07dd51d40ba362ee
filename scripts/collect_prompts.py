"""Rules collect_prompts and collect_evaluation_prompts: a prompt file as parquet."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Read and check the prompts, sorted by prompt_id, without those that are taken down."""
    from stillhouse.prompts.collect import CollectSettings, collect, tell
    from stillhouse.prompts.read import SCHEMA
    from stillhouse.provenance.files import write_parquet

    settings = CollectSettings.model_validate(params.recipe)
    collected = collect(inputs.source, settings)
    tell(settings, collected)
    write_parquet(outputs.prompts, collected.kept, SCHEMA)
    return collected.facts()


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
