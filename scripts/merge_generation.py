"""Rule merge_generation: the answers and failures of a generation's shards."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Join the shards, sorted by prompt_id."""
    from stillhouse.tournament.merge import merge_shards, remove_stale
    from stillhouse.tournament.settings import MergeSettings

    settings = MergeSettings.model_validate(params.recipe)
    facts = merge_shards(inputs.get("shards"), settings, outputs.answers, outputs.failures)
    remove_stale(inputs.get("shards"))
    return facts


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
