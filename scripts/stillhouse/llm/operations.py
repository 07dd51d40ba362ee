"""Operational settings: what may change without changing an answer (URL, key, price, limits, time-outs).

They are the only part of the raw config that a job reads; everything that decides a result comes to it in
its `recipe`.
"""

from typing import Any

from pydantic import TypeAdapter

from stillhouse.study.models import Model


def model_settings(config: dict[str, Any], name: str) -> Model:
    """The model `name` of a config that planning has validated already."""
    return TypeAdapter(Model).validate_python(config["models"][name])


def ledger_folder(config: dict[str, Any]) -> str:
    """Where the calls of this study lie."""
    return config.get("ledger", "results/ledger")
