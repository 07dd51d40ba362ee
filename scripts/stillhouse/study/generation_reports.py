"""What the external check, the report and the cost report of a generation need of the study."""

from typing import Any

from stillhouse.study.external_check import ExternalCheck
from stillhouse.study.models import TrainedModel
from stillhouse.study.plan import Plan
from stillhouse.study.prices import price_of
from stillhouse.study.quality_plan import score_models
from stillhouse.study.serve import engine_of

CHECK = "results/generations/{}/check.parquet"


def checked(plan: Plan) -> list[str]:
    """Generations whose final answers are judged against their first drafts, in the study's order."""
    return [name for name, item in plan.study.generations.items() if item.external_check is not None]


def check_judges(plan: Plan, generation: str) -> list[str]:
    """Models that judge from outside, sorted; none where the study asks for no check."""
    return [] if (check := _check(plan, generation)) is None else sorted(set(check.judges))


def check_file(plan: Plan, generation: str) -> list[str]:
    """The verdicts of the external check, as reports take them: none where there is none."""
    return [CHECK.format(generation)] if _check(plan, generation) else []


def check_sources(plan: Plan, generation: str) -> list[str]:
    """The user's files behind the verdicts: the judges' template and recorded answers."""
    return [plan.judging_template("pairwise"), *plan.model_inputs(check_judges(plan, generation))["recorded"]]


def recipe_check(plan: Plan, generation: str) -> dict[str, Any]:
    """`CheckSettings` of a generation, and the identities of the judges."""
    check, judges = plan.study.generations[generation].external_check, check_judges(plan, generation)
    models = [plan.identity(judge) for judge in judges]
    return {"judges": judges, "limit": check.limit, "sampling": check.judging.model_dump(), "models": models}


def recipe_generation_report(plan: Plan, generation: str) -> dict[str, Any]:
    """How a generation was made, as its report tells it."""
    entry = plan.study.generations[generation]
    contest = entry.method == "tournament"
    roles = {key: model for key, model in entry.roles.model_dump().items() if model}
    if entry.routes:
        routed = sorted({model for route in entry.routes for model in route.models})
        roles["teacher"] = [entry.roles.teacher or entry.model, *routed]
    return {
        "study": plan.study.study,
        "generation": generation,
        "prompts": entry.prompts,
        "method": entry.method,
        "model": entry.model,
        "roles": roles,
        "tournament": entry.tournament.model_dump(include=SHOWN) if contest else None,
        "external_judges": check_judges(plan, generation),
    }


SHOWN = {"judges", "max_rounds", "convergence"}


def recipe_cost(plan: Plan, generation: str) -> dict[str, Any]:
    """The models that a generation, its check and its scores ask, at the study's prices: here alone do prices decide a file."""
    asked = [*plan.generation_models(generation), *check_judges(plan, generation), *score_models(plan, generation)]
    names = sorted(set(asked))
    return {"generation": generation, "models": [_priced(plan, name) for name in names]}


def _priced(plan: Plan, name: str) -> dict[str, Any]:
    entry = plan.study.models[name]
    price = price_of(entry)
    # what a trained model reads is nothing to its price; its calls name the engine
    told = {"name": name, "backend": engine_of(entry)} if isinstance(entry, TrainedModel) else plan.identity(name)
    return {**told, "price": None if price is None else price.model_dump()}


def _check(plan: Plan, generation: str) -> ExternalCheck | None:
    return plan.study.generations[generation].external_check
