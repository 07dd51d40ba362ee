"""What a report needs of the study."""

from typing import Any

from pydantic import Field, model_validator

from stillhouse.study.base import Section
from stillhouse.study.gates import Gates, Rules


class ReportSettings(Section):
    """What a report needs besides responses and judgements."""

    study: str
    evaluation: str
    subjects: dict[str, dict[str, Any]]  # as the study describes them, in its order
    sets: dict[str, str]  # role (target or forgetting) by prompt set, in the study's order
    order: dict[str, list[str]] = {}  # names of `subjects` and `sets` in the study's order, which a recipe's JSON loses
    gates: Gates = Gates()
    rules: Rules = Rules()
    categories: list[str] = []  # categories that the report must show
    families: dict[str, str | None] = {}  # family of the model behind a subject, None where nobody knows
    judge_families: dict[str, str | None] = {}
    adapters: dict[str, str] = {}  # adapter behind a subject, where there is one
    datasets: dict[str, list[str]] = {}  # datasets that a subject was trained on
    decontaminated: list[str] = []  # those of them that the study holds against this evaluation
    examples: int = Field(3, ge=0)  # prompts of each set whose answers stand side by side

    @model_validator(mode="before")
    @classmethod
    def _in_order(cls, value: dict[str, Any]) -> dict[str, Any]:
        found = dict(value)
        for key, names in value.get("order", {}).items():
            place = {name: number for number, name in enumerate(names)}
            found[key] = dict(sorted(value[key].items(), key=lambda item: place.get(item[0], len(place))))
        return found
