"""Rule answer_subject: the answers of one subject to the held-out prompts of an evaluation."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job

TELLING = 24  # characters from which a text cannot be in a prompt by chance


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Let the subject answer, or take its recorded answers."""
    from stillhouse.evaluation.recorded_answers import replay_recorded
    from stillhouse.evaluation.respond import SubjectSettings, respond
    from stillhouse.llm.factory import Clients
    from stillhouse.provenance.files import read_parquet_rows

    recipe = params.recipe
    settings = SubjectSettings.model_validate({key: recipe[key] for key in SubjectSettings.model_fields})
    rows = [row for file in inputs.get("prompts") for row in read_parquet_rows(file)]
    if recipe["kind"] == "recorded":
        return replay_recorded(rows, inputs.get("answers")[0], settings, outputs.responses)
    clients = Clients.of_job(params)
    try:
        client, serving = _open(clients, inputs, params)
        facts = respond(rows, client, settings, outputs.responses, _texts(inputs))
    finally:
        clients.close()
    return {**facts, **clients.facts(), **({"serving": serving} if serving else {})}


def _open(clients, inputs: Files, params: Params):
    """The client of the subject, and how it is served, for the record; None for what the study does not train."""
    from stillhouse.llm.serving import open_served

    recipe = params.recipe
    if recipe["kind"] == "model":
        name = recipe["model"]["name"]
        return clients[name], clients.serving.get(name)
    log = Path("logs", params.rule, params.wildcards["evaluation"], f"{params.wildcards['subject']}.vllm.log")
    served = open_served(recipe, inputs.get("weights"), inputs.get("digests"), log, params.threads)
    return clients.add(recipe["subject"], served.backend), served.facts


def _texts(inputs: Files):
    """What the subject reads besides the prompts, and the system prompts of others, which it must not see."""
    from stillhouse.evaluation.respond import SubjectTexts

    system, context, wrap, grammar, others = (
        [file.read_text(encoding="utf-8").strip() for file in inputs.get(name)]
        for name in ("system", "context", "wrap", "grammar", "others")
    )
    own = "\n".join([*system, *context, *wrap])
    foreign = tuple(text for text in others if len(text) >= TELLING and text not in own)
    return SubjectTexts(
        next(iter(system), None), tuple(context), next(iter(wrap), None), next(iter(grammar), None), foreign
    )


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
