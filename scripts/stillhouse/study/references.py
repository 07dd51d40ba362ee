"""Checks what pydantic cannot see: references between sections and settings that do not fit together."""

from collections.abc import Iterator

from stillhouse.study.adapters import Adapter
from stillhouse.study.evaluation_references import check_evaluation, known
from stillhouse.study.excludes import set_of
from stillhouse.study.faults import nearest
from stillhouse.study.generations import Generation
from stillhouse.study.grammars import server_fault
from stillhouse.study.licences import check_terms
from stillhouse.study.models import LlamaCppModel, OpenAIModel
from stillhouse.study.prices import price_of
from stillhouse.study.study import Study


def check_references(study: Study) -> list[str]:
    """Every fault as one line: key path, what was found, what was expected."""
    faults = list(_exclude(study))
    for name, generation in study.generations.items():
        faults.extend(_generation(study, f"generations.{name}", generation))
        faults.extend(_external_check(study, f"generations.{name}", generation))
    for name in study.datasets:
        faults.extend(_dataset(study, name, f"datasets.{name}"))
    for name, adapter in study.adapters.items():
        faults.extend(_adapter(study, f"adapters.{name}", adapter))
    for name, export in study.exports.items():
        faults.extend(known(f"exports.{name}.adapter", export.adapter, study.adapters, "adapters"))
    for name, evaluation in study.evaluations.items():
        faults.extend(check_evaluation(study, f"evaluations.{name}", evaluation))
    if not faults:  # terms follow references
        faults = [fault for name in study.exports for fault in check_terms(study, name)]
    return faults


def set_names(study: Study) -> list[str]:
    """Names of all prompt sets, those of the evaluations too."""
    held_out = (name for evaluation in study.evaluations.values() for name in evaluation.sets)
    return list(dict.fromkeys([*study.prompts, *held_out]))


def _exclude(study: Study) -> Iterator[str]:
    names = set_names(study)
    for number, entry in enumerate(study.exclude.prompts):
        found = set_of(entry)
        if found is not None and found not in names:
            yield f"exclude.prompts[{number}]: no prompt set {found!r}{nearest(found, names)}"


def _generation(study: Study, path: str, generation: Generation) -> Iterator[str]:
    yield from known(f"{path}.prompts", generation.prompts, study.prompts, "prompts")
    yield from known(f"{path}.model", generation.model, study.models, "models")
    roles = generation.roles.model_dump(exclude_none=True)
    if generation.method == "single" and any(roles.values()):
        yield f"{path}.roles: only a tournament has roles; method is single"
    judges = roles.pop("judges", [])
    for role, model in roles.items():
        yield from known(f"{path}.roles.{role}", model, study.models, "models")
    for number, model in enumerate(judges):
        yield from known(f"{path}.roles.judges[{number}]", model, study.models, "models")
    for number, route in enumerate(generation.routes):
        for place, model in enumerate(route.models):
            yield from known(f"{path}.routes[{number}].models[{place}]", model, study.models, "models")
    routed = [model for route in generation.routes for model in route.models]
    for name in dict.fromkeys([generation.roles.teacher or generation.model, *routed]):
        if fault := server_fault(generation.grammar, study.models.get(name)):
            yield f"{path}.grammar: models.{name} cannot hold {generation.grammar!r}: {fault}"
    for name in {generation.model, *roles.values(), *judges, *routed}:
        model = study.models.get(name)
        if generation.budget.usd is not None and isinstance(model, OpenAIModel) and price_of(model) is None:
            yield f"{path}.budget.usd: models.{name} has no price, and genai-prices knows none for its URL, so a budget in USD cannot be kept"


def _external_check(study: Study, path: str, generation: Generation) -> Iterator[str]:
    if generation.external_check is None:
        return
    if generation.method == "single":
        yield f"{path}.external_check: only a tournament has a first draft to compare with; method is single"
    for number, judge in enumerate(generation.external_check.judges):
        yield from known(f"{path}.external_check.judges[{number}]", judge, study.models, "models")


def _dataset(study: Study, name: str, path: str) -> Iterator[str]:
    dataset = study.datasets[name]
    for number, source in enumerate(dataset.sources):
        yield from known(f"{path}.sources[{number}].generation", source.generation, study.generations, "generations")
        generation = study.generations.get(source.generation)
        if dataset.format == "preference" and generation and generation.method != "tournament":
            yield (
                f"{path}.sources[{number}].generation: pairs come from tournaments; "
                f"{source.generation!r} is a {generation.method} generation"
            )
    if sum(source.share or 0.0 for source in dataset.sources) >= 1.0:
        yield f"{path}.sources: shares add up to 1 or more, which leaves no room for the other rows"
    if all(source.share is not None for source in dataset.sources):
        yield f"{path}.sources: one source at least must have no share, the others are measured against it"
    for number, evaluation in enumerate(dataset.decontaminate.against if dataset.decontaminate else []):
        yield from known(f"{path}.decontaminate.against[{number}]", evaluation, study.evaluations, "evaluations")


def _adapter(study: Study, path: str, adapter: Adapter) -> Iterator[str]:
    yield from known(f"{path}.dataset", adapter.dataset, study.datasets, "datasets")
    yield from known(f"{path}.base", adapter.base, study.models, "models")
    base = study.models.get(adapter.base)
    if base is not None and not isinstance(base, LlamaCppModel):
        yield f"{path}.base: {adapter.base!r} has backend {base.backend}; training needs weights (llama_cpp)"
    dataset = study.datasets.get(adapter.dataset)
    wanted = "sft" if adapter.objective == "sft" else "preference"
    if dataset is not None and dataset.format != wanted:
        yield f"{path}.dataset: objective {adapter.objective} takes format {wanted}; {adapter.dataset!r} is {dataset.format}"
