"""What scoring the answers of a generation, or of an entry of `answers`, needs of the study."""

from typing import Any

from stillhouse.study.plan import Plan
from stillhouse.study.quality import Quality


def scored(plan: Plan) -> list[str]:
    """Generations and entries of `answers` whose answers a model scores, in the study's order."""
    return [name for name in (*plan.study.generations, *plan.study.answers) if plan.quality_of(name)]


def score_models(plan: Plan, name: str) -> list[str]:
    """The model that scores the answers of `name`, as a list; empty where none does."""
    return [] if (quality := plan.quality_of(name)) is None else [quality.model]


def score_file(plan: Plan, name: str) -> list[str]:
    """The scores of the answers of `name`, as a list; empty where no model scores them."""
    return [plan.quality_file(name)] if plan.quality_of(name) else []


def score_template(plan: Plan, name: str) -> str:
    """The template of what the model is asked: the study's own, else the shipped one."""
    return plan.quality_template(_quality(plan, name))


def score_sources(plan: Plan, name: str) -> list[str]:
    """The user's files behind the scores: the template and recorded replies."""
    return [score_template(plan, name), *plan.model_inputs(score_models(plan, name))["recorded"]]


def recipe_scores(plan: Plan, name: str) -> dict[str, Any]:
    """`ScoreSettings` of a generation or an entry of `answers`, and the identity of the model."""
    quality = _quality(plan, name)
    return {
        "judge": quality.model,
        "scale": list(quality.scale),
        "repeats": quality.repeats,
        "sampling": quality.judging.model_dump(),
        "max_unscored": quality.max_unscored,
        "models": [plan.identity(quality.model)],
    }


def _quality(plan: Plan, name: str) -> Quality:
    quality = plan.quality_of(name)
    assert quality is not None, f"no model scores the answers of {name}"  # the rule's wildcards say so
    return quality
