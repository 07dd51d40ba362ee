"""Rule answer_shard: one shard of a generation, by a single pass, a tournament or dialogues."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Answer the shard's prompts through the ledger."""
    from stillhouse.llm.factory import Clients
    from stillhouse.llm.operations import bounds_of, prompts_at_once, retrying
    from stillhouse.llm.purse import Purse
    from stillhouse.prompts.shards import rows_of_shard
    from stillhouse.provenance.files import read_parquet_rows
    from stillhouse.tournament.generate import answer_shard
    from stillhouse.tournament.retrieval import Library
    from stillhouse.tournament.roles import load_templates
    from stillhouse.tournament.settings import ShardSettings
    from stillhouse.tournament.writing import Texts

    recipe = {key: value for key, value in params.recipe.items() if key != "models"}
    settings = ShardSettings.model_validate(recipe)
    rows = read_parquet_rows(inputs.prompts)
    mine = rows_of_shard(rows, settings.shard, settings.shards)
    context = settings.context
    texts = Texts(
        system=_read(inputs.get("system")),
        grammar=_read(inputs.get("grammar")),
        templates=load_templates(inputs.get("templates")) if settings.method == "tournament" else None,
        partner_system=_read(inputs.get("partner_system")),
        library=Library(inputs.get("corpus"), context, _read(inputs.get("context_template"))) if context else None,
    )
    clients = Clients.of_job(params)
    budget, failures = bounds_of(params.config, settings.generation)
    # by the shard's own work: what was spent on other prompts or by other words is another key
    clients.usage.purse = Purse(budget, settings.generation, settings.shard, settings.shards, params.key)
    try:
        facts = answer_shard(
            mine,
            clients,
            settings,
            texts,
            outputs.shard,
            company=rows,
            limit=prompts_at_once(params.config, [model["name"] for model in params.recipe["models"]]),
            bearable=failures.max_share * len(rows) * settings.samples,
            retrying=retrying(),
            note=clients.usage.note,
        )
    finally:
        clients.usage.purse.close()
        clients.close()
    return {**facts, **clients.facts()}


def own_prompts(inputs: Files, recipe: Facts) -> dict[str, str]:
    """The build key counts the shard's own prompts: editing one prompt leaves the other shards as they are."""
    from stillhouse.prompts.shards import rows_of_shard
    from stillhouse.provenance.digests import digest_json
    from stillhouse.provenance.files import read_parquet_rows

    return {"prompts": digest_json(rows_of_shard(read_parquet_rows(inputs.prompts), recipe["shard"], recipe["shards"]))}


def _read(files: list[Path]) -> str | None:
    return files[0].read_text(encoding="utf-8").strip() if files else None


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=own_prompts)
