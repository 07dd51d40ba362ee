"""Checks what pydantic cannot see: references between sections and settings that do not fit together."""

from collections.abc import Iterator
from typing import Any

from stillhouse.study.adapters import Adapter, MergedExport
from stillhouse.study.asking import asked_anew
from stillhouse.study.bases import base_name, trained_in_turn
from stillhouse.study.dataset_references import check_dataset
from stillhouse.study.evaluation_references import check_evaluation
from stillhouse.study.excludes import set_of
from stillhouse.study.faults import known, nearest
from stillhouse.study.generations import Generation
from stillhouse.study.grammars import server_fault
from stillhouse.study.licences import check_terms
from stillhouse.study.models import LlamaCppModel, OpenAIModel, TrainedModel
from stillhouse.study.prices import price_of
from stillhouse.study.prompt_sets import OWN_ENDINGS
from stillhouse.study.quality import Quality
from stillhouse.study.rings import ring
from stillhouse.study.served import serving_faults
from stillhouse.study.study import Study
from stillhouse.study.vllm import environment_fault


def check_references(study: Study) -> list[str]:
    """Every fault as one line: key path, what was found, what was expected."""
    faults = list(_exclude(study))
    for name, model in study.models.items():
        faults.extend(_trained(study, name, model) if isinstance(model, TrainedModel) else ())
    for name, generation in study.generations.items():
        faults.extend(_generation(study, f"generations.{name}", generation))
        faults.extend(_external_check(study, f"generations.{name}", generation))
        faults.extend(_dialogue(study, f"generations.{name}", generation))
        faults.extend(_quality(study, f"generations.{name}", generation.quality))
    for name, prompts in study.prompts.items():
        if name.endswith(OWN_ENDINGS):
            faults.append(f"prompts.{name}: a prompt set's name may not end in {', '.join(OWN_ENDINGS)}")
        if prompts.expand is not None:
            faults.extend(known(f"prompts.{name}.expand.model", prompts.expand.model, study.models, "models"))
    for name, answers in study.answers.items():
        faults.extend(_quality(study, f"answers.{name}", answers.quality))
        if name in study.generations:
            faults.append(f"answers.{name}: a generation has this name too; datasets could not tell the two apart")
    for name in study.datasets:
        faults.extend(check_dataset(study, name, f"datasets.{name}"))
    for name, adapter in study.adapters.items():
        faults.extend(_adapter(study, name, adapter))
    for name, export in study.exports.items():
        faults.extend(known(f"exports.{name}.adapter", export.adapter, study.adapters, "adapters"))
        for number, evaluation in enumerate(export.evaluations):
            faults.extend(known(f"exports.{name}.evaluations[{number}]", evaluation, study.evaluations, "evaluations"))
    for name, evaluation in study.evaluations.items():
        faults.extend(check_evaluation(study, f"evaluations.{name}", evaluation))
    if not faults:  # terms follow references
        faults = [fault for name in study.exports for fault in check_terms(study, name)]
    return faults


def set_names(study: Study) -> list[str]:
    """Names of all prompt sets, those with answers and those of the evaluations too."""
    held_out = (name for evaluation in study.evaluations.values() for name in evaluation.sets)
    return list(dict.fromkeys([*study.prompts, *study.answers, *held_out]))


def _exclude(study: Study) -> Iterator[str]:
    names = set_names(study)
    for number, entry in enumerate(study.exclude.prompts):
        found = set_of(entry)
        if found is not None and found not in names:
            yield f"exclude.prompts[{number}]: no prompt set {found!r}{nearest(found, names)}"


def _trained(study: Study, name: str, model: TrainedModel) -> Iterator[str]:
    """A model that the study trains: what it is made of, and vLLM's environment where somebody still has to ask it."""
    yield from serving_faults(study, f"models.{name}", model)
    asking = asked_anew(study, name) if model.serve == "vllm" else []
    if asking and (fault := environment_fault()):
        yield f"models.{name}.serve: {fault} ({', '.join(asking)} would ask it)"


def _generation(study: Study, path: str, generation: Generation) -> Iterator[str]:
    yield from known(f"{path}.prompts", generation.prompts, study.prompts, "prompts")
    yield from known(f"{path}.model", generation.model, study.models, "models")
    roles = generation.roles.model_dump(exclude_none=True)
    if generation.method != "tournament" and any(roles.values()):
        yield f"{path}.roles: only a tournament has roles; method is {generation.method}"
    judges = roles.pop("judges", [])
    for role, model in roles.items():
        yield from known(f"{path}.roles.{role}", model, study.models, "models")
    for number, model in enumerate(judges):
        yield from known(f"{path}.roles.judges[{number}]", model, study.models, "models")
    for number, route in enumerate(generation.routes):
        for place, model in enumerate(route.models):
            yield from known(f"{path}.routes[{number}].models[{place}]", model, study.models, "models")
    routed = [model for route in generation.routes for model in route.models]
    for name in dict.fromkeys([generation.roles.teacher or generation.model, *routed, *_revisers(study, generation)]):
        if fault := server_fault(generation.grammar, study.models.get(name)):
            yield f"{path}.grammar: models.{name} cannot hold {generation.grammar!r}: {fault}"
    for name in {generation.model, *roles.values(), *judges, *routed}:
        model = study.models.get(name)
        if generation.budget.usd is not None and isinstance(model, OpenAIModel) and price_of(model) is None:
            yield f"{path}.budget.usd: models.{name} has no price, and genai-prices knows none for its URL, so a budget in USD cannot be kept"


def _revisers(study: Study, generation: Generation) -> list[str]:
    """Trained models that write B and AB of a tournament, which keep the teacher's form."""
    if generation.method != "tournament":
        return []
    names = [getattr(generation.roles, role) or generation.model for role in ("author", "synthesizer")]
    return [name for name in names if isinstance(study.models.get(name), TrainedModel)]


def _dialogue(study: Study, path: str, generation: Generation) -> Iterator[str]:
    talk = generation.dialogue
    if generation.method != "dialogue":
        if talk.partner or talk.system:
            yield f"{path}.dialogue: only a dialogue has a partner; method is {generation.method}"
        return
    if talk.partner is not None:
        yield from known(f"{path}.dialogue.partner", talk.partner, study.models, "models")
    if generation.context is not None:
        yield f"{path}.context: a dialogue takes no passages"
    if generation.grammar is not None:
        yield f"{path}.grammar: a dialogue takes no grammar"


def _external_check(study: Study, path: str, generation: Generation) -> Iterator[str]:
    if generation.external_check is None:
        return
    if generation.method != "tournament":
        yield f"{path}.external_check: only a tournament has a first draft to compare with; method is {generation.method}"
    for number, judge in enumerate(generation.external_check.judges):
        yield from known(f"{path}.external_check.judges[{number}]", judge, study.models, "models")


def _quality(study: Study, path: str, quality: Quality | None) -> Iterator[str]:
    if quality is not None:
        yield from known(f"{path}.quality.model", quality.model, study.models, "models")


def _adapter(study: Study, name: str, adapter: Adapter) -> Iterator[str]:
    path = f"adapters.{name}"
    yield from known(f"{path}.dataset", adapter.dataset, study.datasets, "datasets")
    yield from _base(study, path, adapter)
    yield from _init(study, path, adapter)
    yield from _stages(study, path, name)
    dataset = study.datasets.get(adapter.dataset)
    wanted = ("sft", "reasoning", "critic") if adapter.objective == "sft" else ("preference",)
    if dataset is not None and dataset.format not in wanted:
        takes = f"objective {adapter.objective} takes format {' or '.join(wanted)}"
        yield f"{path}.dataset: {takes}; {adapter.dataset!r} is {dataset.format}"


def _base(study: Study, path: str, adapter: Adapter) -> Iterator[str]:
    """A model with weights, or an export, whose own adapter is checked as this one is."""
    if isinstance(adapter.base, MergedExport):
        yield from known(f"{path}.base.export", adapter.base.export, study.exports, "exports")
        return
    yield from known(f"{path}.base", adapter.base, study.models, "models")
    base = study.models.get(adapter.base)
    if isinstance(base, TrainedModel):
        instead = f"base: {{export: {base.export}}}, which is its merged model"
        if base.adapter:
            instead = (
                f"init: {base.adapter} to go on from it, or base: {{export: NAME}}, the merged model of an export of it"
            )
        yield f"{path}.base: {adapter.base!r} is a model that the study trains; write {instead}"
    elif base is not None and not isinstance(base, LlamaCppModel):
        yield f"{path}.base: {adapter.base!r} has backend {base.backend}; training needs weights (llama_cpp)"


def _init(study: Study, path: str, adapter: Adapter) -> Iterator[str]:
    """An adapter that another one goes on from has the same base and shape."""
    if adapter.init is None:
        return
    yield from known(f"{path}.init", adapter.init, study.adapters, "adapters")
    start = study.adapters.get(adapter.init)
    if start is None:
        return
    if adapter.base != start.base:
        mine, theirs = base_name(adapter), base_name(start)
        yield f"{path}.init: {adapter.init!r} has base {theirs}, this adapter has {mine}"
    if adapter.quantization != start.quantization:
        mine, theirs = adapter.quantization, start.quantization
        yield f"{path}.init: {adapter.init!r} has quantization {theirs}, this adapter has {mine}"
    for key in ("rank", "alpha", "targets"):
        mine, theirs = getattr(adapter.lora, key), getattr(start.lora, key)
        if _unordered(mine) != _unordered(theirs):
            yield f"{path}.init: {adapter.init!r} has lora.{key} {theirs}, this adapter has {mine}"


def _unordered(value: Any) -> Any:
    """Names of modules are a set: neither their order nor repeats matter."""
    return set(value) if isinstance(value, list) else value


def _stages(study: Study, path: str, name: str) -> Iterator[str]:
    """An adapter does not stand on itself, and SFT on top of a preference-trained one is asked for by name."""
    if found := ring(study, name):
        key, way = found
        yield f"{path}.{key}: {' -> '.join(way)} goes in a ring; an adapter cannot stand on itself"
        return
    adapter = study.adapters[name]
    if adapter.objective != "sft" or adapter.accept_collapse:
        return
    below = reversed(trained_in_turn(study, name)[:-1])
    preferred = next((one for one in below if study.adapters[one].objective != "sft"), None)
    if preferred is not None:
        yield (
            f"{path}.{'init' if adapter.init else 'base.export'}: SFT on top of {preferred!r}, which was trained by "
            f"{study.adapters[preferred].objective}, mostly ruins it: Foundry measured a fall from 8.8 to 2.0 of 10. "
            "Train SFT first, or set accept_collapse: true"
        )
