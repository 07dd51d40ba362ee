"""The records of all jobs that a study needs: what the lineage page and the RO-Crate are made from.

A test compares them with the outputs that Snakemake plans for rule `all`.
"""

from collections.abc import Iterator
from pathlib import Path

from stillhouse.study.generation_reports import check_file, check_judges
from stillhouse.study.plan import Plan
from stillhouse.study.quality_plan import score_file, score_models


def study_records(plan: Plan) -> list[str]:
    """Paths of the records, in the order of the stages."""
    return [
        *_models(plan),
        *(record for name in _prompt_sets(plan) for record in _prompts(plan, name)),
        *(record for name in _answers(plan) for record in _answer_set(plan, name)),
        *(record for name in plan.study.generations for record in _generation(plan, name)),
        *(record for name in plan.study.datasets for record in _dataset(plan, name)),
        *(f"results/adapters/{name}/{file}" for name in plan.study.adapters for file in ADAPTER),
        *(record for name in plan.study.exports for record in _export(plan, name)),
        *(record for name in plan.study.evaluations for record in _evaluation(plan, name)),
        *(["results/evaluations/history.json.record.json"] if plan.study.evaluations else []),
    ]


def _prompt_sets(plan: Plan) -> list[str]:
    """Prompt sets that are asked; one that no generation names is never read."""
    return sorted({item.prompts for item in plan.study.generations.values()})


def _answers(plan: Plan) -> list[str]:
    """Answers of files that datasets take; one that no dataset names is never read."""
    taken = {name for dataset in plan.study.datasets for name in plan.answers_of(dataset)}
    return sorted(taken & set(plan.study.answers))


def _answer_set(plan: Plan, name: str) -> Iterator[str]:
    yield f"results/answers/{name}/record.json"
    if any(name in plan.quality_sources(dataset) for dataset in plan.study.datasets):
        yield f"{plan.quality_file(name)}.record.json"


def _models(plan: Plan) -> Iterator[str]:
    """Models that the study needs as GGUF, and those that it needs as safetensors."""
    study = plan.study
    judged = [p for item in study.evaluations.values() for p in (item.breaks, item.rubric, item.pairwise) if p]
    asked = [m for name in study.generations for m in (*plan.generation_models(name), *check_judges(plan, name))]
    scored = [name for dataset in study.datasets for name in plan.quality_sources(dataset)]
    asked += [model for name in (*study.generations, *scored) for model in score_models(plan, name)]
    asked += [model for name in _prompt_sets(plan) for model in plan.expand_models(name)]
    files = plan.model_weights([*asked, *(judge for part in judged for judge in part.judges)])
    for evaluation, item in study.evaluations.items():
        files += [file for subject in item.subjects for file in plan.subject_weights(evaluation, subject)]
    ggufs = {Path(file).parent.name for file in files if Path(file).match("results/models/*/model.gguf")}
    whole = {plan.base_of(adapter) for adapter in study.adapters}
    whole |= {dataset.tokens.model for dataset in study.datasets.values() if dataset.tokens}
    whole |= {model for model in ggufs if plan.hf_source(model)}
    ggufs |= {model for model in whole if not plan.hf_source(model)}
    yield from (f"results/models/{model}/model.gguf.record.json" for model in sorted(ggufs))
    yield from (f"results/models/{model}/record.json" for model in sorted(whole))


ADAPTER = ("preflight.json.record.json", "record.json")


def _prompts(plan: Plan, name: str) -> Iterator[str]:
    if name in plan.expanded():
        yield f"results/prompts/{name}.expanded.jsonl.record.json"
    yield f"results/prompts/{name}.parquet.record.json"


def _dataset(plan: Plan, name: str) -> Iterator[str]:
    folder = f"results/datasets/{name}"
    yield from (f"{folder}/{file}" for file in ("record.json", "README.md.record.json"))
    yield from (f"{folder}/{form}/record.json" for form in plan.forms(name))


def _generation(plan: Plan, name: str) -> Iterator[str]:
    yield from (f"{shard}.record.json" for shard in plan.shards(name))
    yield f"results/generations/{name}/record.json"
    folder = f"results/generations/{name}"
    yield from (f"{file}.record.json" for file in (*check_file(plan, name), *score_file(plan, name)))
    yield from (f"{folder}/{file}.record.json" for file in ("report.json", "cost.json"))


def _export(plan: Plan, name: str) -> Iterator[str]:
    folder = f"results/exports/{name}"
    yield f"{folder}/merged/record.json"
    yield from (f"{folder}/{name}-{suffix}.gguf.record.json" for suffix in plan.ggufs(name))
    if any(plan.by_importance(name, quant) for quant in plan.quants(name)):
        yield f"{folder}/importance.gguf.record.json"
    if plan.study.exports[name].fidelity:
        yield f"{folder}/fidelity.json.record.json"
    yield from (f"{folder}/{file}.record.json" for file in ("Modelfile", "README.md"))


def _evaluation(plan: Plan, name: str) -> Iterator[str]:
    folder = f"results/evaluations/{name}"
    prompts = (plan.evaluation_prompts(name, key) for key in plan.study.evaluations[name].sets)
    files = [*prompts, *plan.responses(name), *plan.judgements(name).values()]
    yield from (f"{file}.record.json" for file in files)
    yield from (f"{folder}/{file}.record.json" for file in ("report.json", "report.html", "valid.json"))
