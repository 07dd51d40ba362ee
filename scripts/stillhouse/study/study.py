"""The study: the whole config file, validated with errors that name key, value, expectation and nearest name."""

import difflib
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from stillhouse.errors import StudyError
from stillhouse.study.adapters import Adapter, Export
from stillhouse.study.base import Name, Section
from stillhouse.study.datasets import Dataset
from stillhouse.study.evaluations import Evaluation
from stillhouse.study.generations import Generation, PromptSet
from stillhouse.study.models import Model


class Study(Section):
    """Everything to be built, by name. Every section is optional."""

    study: Name = Field(description="the study's name, shown in reports")
    ledger: str = Field("results/ledger", description="folder of the calls; may be shared by studies")
    models: dict[Name, Model] = Field({}, description="named ways to get completions")
    prompts: dict[Name, PromptSet] = Field({}, description="prompt sets")
    generations: dict[Name, Generation] = Field({}, description="prompt sets answered by a method")
    datasets: dict[Name, Dataset] = Field({}, description="rows for training")
    adapters: dict[Name, Adapter] = Field({}, description="trained adapters")
    exports: dict[Name, Export] = Field({}, description="what adapters are shipped as")
    evaluations: dict[Name, Evaluation] = Field({}, description="judged evaluations")
    version: Literal[1] = Field(1, description="version of the study's schema")

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, value: Any) -> Any:
        """`adapters:` with nothing below it is an empty section in YAML."""
        if isinstance(value, dict):
            return {key: {} if part is None and key in SECTIONS else part for key, part in value.items()}
        return value


SECTIONS = ("models", "prompts", "generations", "datasets", "adapters", "exports", "evaluations")


def load_study(config: dict[str, Any]) -> Study:
    """Validate `config` (as YAML gives it); raises `StudyError` that lists every fault, a few lines each."""
    from stillhouse.study.references import check_references

    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        raise StudyError(_explain(error, config)) from None
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


def nearest(word: str, names: list[str]) -> str:
    """`; did you mean 'x'?` when a valid name is near to `word`, else the valid names (a dozen at most)."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(names)[:12])}" if names else "; there are none"


def _explain(error: ValidationError, config: dict[str, Any]) -> str:
    return join_faults([_fault(fault, config) for fault in error.errors(include_url=False)])


def _fault(fault: dict[str, Any], config: dict[str, Any]) -> str:
    path = _path(fault["loc"], config)
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(fault['loc'][-1]), _keys_at(fault['loc'][:-1], config))}"
    if fault["type"] == "missing":
        return f"{path}: missing; expected {_description(fault['loc']) or 'a value'}"
    found = fault.get("input")
    shown = repr(found)
    return f"{path}: {fault['msg']}; found {shown if len(shown) <= 80 else shown[:77] + '...'}"


def _path(location: tuple[int | str, ...], config: dict[str, Any]) -> str:
    """Dotted path of a fault without pydantic's own steps (union tags, `[key]`)."""
    steps, here = [], config
    for step in location:
        if step == "[key]":
            continue
        inside = isinstance(here, dict) and step in here or isinstance(here, list) and isinstance(step, int)
        if inside:
            here = here[step]
        elif step in ("llama_cpp", "openai", "recorded") and isinstance(here, dict):
            continue
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "".join(steps).lstrip(".") or "study"


def _section_at(location: tuple[int | str, ...]) -> type[Section] | None:
    """The section class that a location lies in, by walking the annotations."""
    import typing

    here: Any = Study
    for step in location:
        if step == "[key]":
            return None
        if isinstance(here, type) and issubclass(here, Section):
            field = here.model_fields.get(str(step))
            here = field.annotation if field else None
        else:
            arguments = typing.get_args(here)
            classes = [c for c in _flatten(arguments) if isinstance(c, type) and issubclass(c, Section)]
            tagged = [c for c in classes if step in _tags(c)]
            here = tagged[0] if tagged else (arguments[-1] if arguments else None)
        here = _only_section(here)
    return here if isinstance(here, type) and issubclass(here, Section) else None


def _flatten(arguments: tuple[Any, ...]) -> list[Any]:
    import typing

    flat: list[Any] = []
    for argument in arguments:
        inner = typing.get_args(argument)
        flat.extend(_flatten(inner) if inner else [argument])
    return flat


def _tags(section: type[Section]) -> tuple[Any, ...]:
    import typing

    backend = section.model_fields.get("backend")
    return typing.get_args(backend.annotation) if backend else ()


def _only_section(annotation: Any) -> Any:
    """`Section | None` means the section."""
    import types
    import typing

    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        classes = [c for c in typing.get_args(annotation) if c is not type(None)]
        return classes[0] if len(classes) == 1 else annotation
    return annotation


def _keys_at(location: tuple[int | str, ...], config: dict[str, Any]) -> list[str]:
    section = _section_at(location)
    return list(section.model_fields) if section else []


def _description(location: tuple[int | str, ...]) -> str:
    section = _section_at(location[:-1])
    field = section.model_fields.get(str(location[-1])) if section else None
    return field.description or "" if field else ""
