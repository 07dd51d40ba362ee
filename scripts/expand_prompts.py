"""Rule expand_prompts: prompts that a model writes from templates and domains."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Ask for the prompts through the ledger; write them and what is missing."""
    from stillhouse.llm.factory import Clients
    from stillhouse.prompts.expand import ExpandSettings, expand
    from stillhouse.prompts.expand_files import check_domains, read_domains, read_templates
    from stillhouse.provenance.digests import canonical_json
    from stillhouse.provenance.files import write_json, write_text

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = ExpandSettings.model_validate(recipe)
    named = settings.expand.domains
    domains = check_domains(read_domains(inputs.get("domains")[0]) if named is None else named)
    clients = Clients.of_job(params)
    try:
        seeds, client = read_templates(inputs.templates), clients[settings.expand.model]
        rows, report = expand(seeds, domains, client, settings, inputs.instructions)
    finally:
        clients.close()
    write_text(outputs.prompts, "".join(f"{canonical_json(row)}\n" for row in rows))
    write_json(outputs.shortfalls, report)
    counts = {key: report[key] for key in ("pairs", "wanted", "got", "requests", "rejected")}
    return {**counts, **clients.facts()}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
