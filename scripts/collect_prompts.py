"""Rules collect_prompts and collect_evaluation_prompts: a prompt file as parquet."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Read and check the prompts, sorted by prompt_id."""
    from stillhouse.prompts.read import SCHEMA, read_prompts
    from stillhouse.provenance.files import write_parquet

    rows = read_prompts(inputs.source, params.recipe["set"], params.recipe["limit"])
    write_parquet(outputs.prompts, rows, SCHEMA)
    return {"prompts": len(rows)}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
