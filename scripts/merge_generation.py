"""Rule merge_generation: the answers and failures of a generation's shards."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Join the shards, sorted by prompt_id."""
    from stillhouse.tournament.generate import merge_shards
    from stillhouse.tournament.settings import MergeSettings

    settings = MergeSettings.model_validate(params.recipe)
    return merge_shards(inputs.get("shards"), settings, outputs.answers, outputs.failures)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
