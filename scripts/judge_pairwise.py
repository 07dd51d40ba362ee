"""Rule judge_pairwise: blind comparisons of two subjects' answers in both orders, and recorded ones."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Let the judges compare every pair."""
    from stillhouse.evaluation.pairwise import judge_pairs
    from stillhouse.evaluation.settings import PairwiseSettings
    from stillhouse.llm.factory import Clients

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = PairwiseSettings.model_validate(recipe)
    clients = Clients.of_job(params)
    published = inputs.get("judged")
    try:
        judges = {name: clients[name] for name in settings.judges}
        facts = judge_pairs(
            inputs.get("responses"),
            judges,
            settings,
            outputs.judgements,
            inputs.template,
            published[0] if published else None,
        )
    finally:
        clients.close()
    return {**facts, **clients.facts()}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
