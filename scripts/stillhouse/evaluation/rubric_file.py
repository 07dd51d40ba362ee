"""Rubric files: the components that an answer is scored on, and what a judge is told of them."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from stillhouse.errors import InputError
from stillhouse.evaluation.asking import render
from stillhouse.llm.requests import Message
from stillhouse.study.base import Name, Section
from stillhouse.study.verdict_words import normal

RESERVED = ("overall", "critical_failures", "components")
WIDEST_SCALE = 100
VERDICT_CHARACTERS = 120  # of justification in one verdict held by a grammar, so that a small judge comes to an end

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Component(Section):
    """One thing that an answer is scored on."""

    weight: float = Field(gt=0, description="its part of the overall score; only the ratio of weights counts")
    scale: tuple[int, int] = Field(description="lowest and highest score")
    description: str = Field("", description="what the judge is told about it")

    @field_validator("scale")
    @classmethod
    def _grows(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if not 0 < scale[1] - scale[0] <= WIDEST_SCALE or scale[0] < 0:
            raise ValueError(f"expected [low, high] with 0 <= low < high <= low + {WIDEST_SCALE}, found {list(scale)}")
        return scale


class Rubric(Section):
    """A rubric file as the user writes it."""

    components: dict[Name, Component] = Field(min_length=1, description="what is scored, by name")
    critical_failures: list[Text] = Field([], description="faults that are listed beside the scores")
    reference: str | None = Field(None, description="text that the judge compares with: a constitution, a good answer")
    prompt: str | None = Field(None, description="Jinja template of the judge's message, in place of the shipped one")

    @model_validator(mode="after")
    def _one_scale(self) -> "Rubric":
        scales = {component.scale for component in self.components.values()}
        if len(scales) > 1:
            raise ValueError(f"components need one common scale, found {sorted(list(s) for s in scales)}")
        taken = [name for name in self.components if normal(name) in RESERVED]
        if taken:
            raise ValueError(f"components.{taken[0]}: this name has a meaning of its own in a verdict")
        if len({normal(name) for name in self.components}) < len(self.components):
            raise ValueError("components: two names differ in case, hyphens or underscores only")
        return self

    @property
    def scale(self) -> tuple[int, int]:
        """Lowest and highest score, the same for all components and the overall."""
        return next(iter(self.components.values())).scale

    def overall(self, scores: dict[str, float]) -> float:
        """Mean of the components' `scores`, weighted: sum(w * s) / sum(w), on the rubric's scale."""
        weights = {name: component.weight for name, component in self.components.items()}
        return sum(weights[name] * scores[name] for name in weights) / sum(weights.values())

    def messages(self, prompt: str, answer: str, template: str, signal: str | None = None) -> list[Message]:
        """What the judge is asked; `signal` says what a good answer must do. Raises `InputError` for a bad template."""
        low, high = self.scale
        return render(
            self.prompt or template,
            "the rubric's prompt" if self.prompt else "rubric.j2",
            prompt=prompt,
            answer=answer,
            low=low,
            high=high,
            components=self.components,
            critical_failures=self.critical_failures,
            reference=(self.reference or "").strip(),
            signal=(signal or "").strip(),
        )

    @cached_property
    def grammar(self) -> str:
        """GBNF of one verdict: every component once, scores on the scale, short justifications, compact JSON."""
        low, high = self.scale
        length = max(12, VERDICT_CHARACTERS // len(self.components))
        parts = [
            f'"\\"{name}\\": {{\\"score\\": " score ", \\"justification\\": \\"" words "\\"}}, "'
            for name in self.components
        ]
        scores = " | ".join(f'"{score}"' for score in range(low, high + 1))
        faults = " | ".join(f'"{number}"' for number, _ in enumerate(self.critical_failures, start=1))
        more = len(self.critical_failures) - 1
        listed = f'(fault (", " fault){{0,{more}}})?' if more > 0 else "fault?"
        rules = [
            f'root ::= "{{" {" ".join(parts)} "\\"critical_failures\\": [" {listed if faults else ""} "], '
            f'\\"overall\\": " score "}}"',
            f"score ::= {scores}",
            f"words ::= [A-Z] [a-zA-Z0-9 ,.'-]{{0,{length}}}",
        ]
        return "\n".join([*rules, f"fault ::= {faults}"] if faults else rules) + "\n"


def load_rubric(path: Path) -> Rubric:
    """Read a rubric file. Raises `InputError` naming the file, and the key or the line."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such rubric file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected {{components: {{...}}, ...}}, found {type(content).__name__}")
    try:
        return Rubric.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_fault(error.errors(include_url=False)[0])}") from None


def _fault(first: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    message = first["msg"].removeprefix("Value error, ")
    found = "" if first["type"] in ("missing", "value_error") else f", found {first['input']!r}"
    return f"{where}: {message}{found}" if where else message
