"""Rule check_drafts: blind comparisons of a tournament's answers with its first drafts, in both orders."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Let the judges compare every answer with its draft."""
    from stillhouse.evaluation.draft_check import check_drafts
    from stillhouse.evaluation.settings import CheckSettings
    from stillhouse.llm.factory import Clients

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = CheckSettings.model_validate(recipe)
    clients = Clients.of_job(params)
    try:
        judges = {name: clients[name] for name in settings.judges}
        facts = check_drafts(inputs.answers, judges, settings, outputs.check, inputs.template)
    finally:
        clients.close()
    return {**facts, **clients.facts()}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
