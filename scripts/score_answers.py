"""Rule score_answers: a model scores every answer of a generation, or of answers that were read from files."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Score the answers through the ledger."""
    from stillhouse.evaluation.answer_scores import score_answers
    from stillhouse.evaluation.settings import ScoreSettings
    from stillhouse.llm.factory import Clients
    from stillhouse.llm.operations import prompts_at_once

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = ScoreSettings.model_validate(recipe)
    clients = Clients.of_job(params)
    try:
        judge, limit = clients[settings.judge], prompts_at_once(params.config, [settings.judge])
        files, note = (outputs.quality, inputs.template), clients.usage.note
        facts = score_answers(inputs.answers, judge, settings, *files, limit=limit, note=note)
    finally:
        clients.close()
    return {**facts, **clients.facts()}


def what_is_read(inputs: Files, recipe: Facts) -> dict[str, str]:
    """The build key counts prompts and answers: rounds, metadata or the generation's name are nothing to the judge."""
    from stillhouse.evaluation.answer_scores import digest_read

    return {"answers": digest_read(inputs.answers)}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=what_is_read)
