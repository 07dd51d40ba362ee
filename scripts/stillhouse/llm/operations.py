"""Operational settings: what may change without changing an answer (URL, key, price, limits, time-outs).

They are the only part of the raw config that a job reads; everything that decides a result comes to it in
its `recipe`.
"""

import os
from typing import Any

from pydantic import TypeAdapter

from stillhouse.study.data_folder import with_data_folder
from stillhouse.study.generations import Budget, Failures
from stillhouse.study.models import Model, OpenAIModel

RETRY = "STILLHOUSE_RETRY"
"""Environment variable that scripts/retry.py sets."""

BESIDE = 8
"""Prompts at work at once, as a multiple of the calls in flight: enough that slots stay full until the last round."""


def model_settings(config: dict[str, Any], name: str) -> Model:
    """The model `name` of a config that planning has validated already."""
    filled, _ = with_data_folder(config)
    return TypeAdapter(Model).validate_python(filled["models"][name])


def ledger_folder(config: dict[str, Any]) -> str:
    """Where the calls of this study lie."""
    return config.get("ledger", "results/ledger")


def prompts_at_once(config: dict[str, Any], names: list[str]) -> int:
    """How many prompts a job works at beside each other that asks the models `names`."""
    models = [model_settings(config, name) for name in names]
    return BESIDE * max([8, *(model.limits.concurrency for model in models if isinstance(model, OpenAIModel))])


def bounds_of(config: dict[str, Any], generation: str) -> tuple[Budget, Failures]:
    """When a generation stops: they decide whether it ends, not what its answers are."""
    section = config["generations"][generation]
    return Budget.model_validate(section.get("budget") or {}), Failures.model_validate(section.get("failures") or {})


def retrying() -> bool:
    """Whether this run asks again for what came back empty in an earlier one."""
    return bool(os.environ.get(RETRY))
