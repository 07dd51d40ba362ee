"""Rule judge_rubric: component scores for the answers of an evaluation."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Let the rubric's judges score every answer."""
    from stillhouse.evaluation.rubric import judge_rubric
    from stillhouse.evaluation.settings import RubricSettings
    from stillhouse.llm.factory import Clients

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = RubricSettings.model_validate(recipe)
    clients = Clients.of_job(params)
    recorded = dict(zip(settings.recorded, inputs.get("judged"), strict=True))
    try:
        judges = {name: clients[name] for name in settings.judges}
        facts = judge_rubric(
            inputs.get("responses"),
            judges,
            inputs.rubric,
            settings,
            outputs.judgements,
            inputs.template,
            recorded,
        )
    finally:
        clients.close()
    return {**facts, **clients.facts()}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
