"""Rule find_breaks: answers that fall out of their role, by patterns and by judges."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Look for character breaks in every answer."""
    from stillhouse.evaluation.breaks import find_breaks
    from stillhouse.evaluation.settings import BreakSettings
    from stillhouse.llm.factory import Clients

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = BreakSettings.model_validate(recipe)
    clients = Clients.of_job(params)
    try:
        judges = {name: clients[name] for name in settings.judges}
        facts = find_breaks(
            inputs.get("responses"), inputs.patterns, judges, settings, outputs.judgements, inputs.template
        )
    finally:
        clients.close()
    return {**facts, **clients.facts()}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
