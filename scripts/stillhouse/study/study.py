"""The study: the whole config file, validated with errors that name key, value, expectation and nearest name."""

from typing import Any, Literal

from pydantic import Field, ValidationError

from stillhouse.errors import StudyError
from stillhouse.study.adapters import Adapter, Export
from stillhouse.study.answers import AnswerSet
from stillhouse.study.base import Name, Section
from stillhouse.study.data_folder import with_data_folder
from stillhouse.study.datasets import Dataset
from stillhouse.study.evaluations import Evaluation
from stillhouse.study.excludes import Exclude
from stillhouse.study.faults import explain
from stillhouse.study.generations import Generation
from stillhouse.study.guards import Guards
from stillhouse.study.models import Model
from stillhouse.study.prompt_sets import PromptSet


class Study(Section):
    """Everything to be built, by name. Every section is optional."""

    study: Name = Field(description="the study's name, shown in reports")
    data: str | None = Field(None, description="folder that `{data}` stands for in paths; also by --config data=FOLDER")
    ledger: str = Field("results/ledger", description="folder of the calls; may be shared by studies")
    exclude: Exclude = Field(Exclude(), description="prompts that are taken down")
    guards: Guards = Field(Guards(), description="what a run must not start unasked")
    models: dict[Name, Model] = Field({}, description="named ways to get completions")
    prompts: dict[Name, PromptSet] = Field({}, description="prompt sets")
    answers: dict[Name, AnswerSet] = Field({}, description="prompts with answers that exist already")
    generations: dict[Name, Generation] = Field({}, description="prompt sets answered by a method")
    datasets: dict[Name, Dataset] = Field({}, description="rows for training")
    adapters: dict[Name, Adapter] = Field({}, description="trained adapters")
    exports: dict[Name, Export] = Field({}, description="what adapters are shipped as")
    evaluations: dict[Name, Evaluation] = Field({}, description="judged evaluations")
    version: Literal[1] = Field(1, description="version of the study's schema")


SECTIONS = ("models", "prompts", "answers", "generations", "datasets", "adapters", "exports", "evaluations")


def load_study(config: dict[str, Any]) -> Study:
    """Validate `config` (as YAML gives it); raises `StudyError` that lists every fault, a few lines each."""
    from stillhouse.study.references import check_references

    if isinstance(config, dict):
        config, unset = with_data_folder(config)
        if unset:
            raise StudyError(join_faults(unset))
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        raise StudyError(join_faults(explain(error, Study, config))) from None
    faults = check_references(study)
    if faults:
        raise StudyError(join_faults(faults))
    return study


def join_faults(faults: list[str], most: int = 8) -> str:
    """Faults as a short list for one screen."""
    shown = [f"- {fault}" for fault in faults[:most]]
    if len(faults) > most:
        shown.append(f"- and {len(faults) - most} more")
    return "the study has " + ("a fault" if len(faults) == 1 else f"{len(faults)} faults") + ":\n" + "\n".join(shown)
