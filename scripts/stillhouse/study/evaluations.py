"""The `evaluations` section: who is asked what, and how the answers are measured."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from stillhouse.study.base import Name, Sampling, Section, Share

SERVE_PATTERN = re.compile(r"peft|merged|gguf-adapter|gguf:[A-Za-z0-9_]+")


class EvaluationSet(Section):
    """Held-out prompts and the part that they play."""

    file: str = Field(description="JSONL of prompts, as in a prompt set")
    role: Literal["target", "forgetting"] = Field("target", description="markers on `forgetting` are leakage")


class Subject(Section):
    """Who is evaluated: exactly one of model, adapter, export, recorded."""

    condition: str | None = Field(
        None, description="gold, student, ablation, vanilla, or any name; default: the subject's"
    )
    model: Name | None = Field(None, description="a model as it is")
    adapter: Name | None = Field(None, description="an adapter on its base")
    export: Name | None = Field(None, description="an exported model")
    recorded: str | None = Field(None, description="JSONL of recorded answers: {id, response} a line")
    serve: str | None = Field(None, description="adapter: peft; export: gguf:QUANT, gguf-adapter or merged")
    system: str | None = Field(None, description="file with a system prompt")
    grammar: str | None = Field(None, description="file that holds the form: a JSON schema (.json) or GBNF")

    @model_validator(mode="after")
    def _one_kind(self) -> "Subject":
        kinds = [k for k in ("model", "adapter", "export", "recorded") if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise ValueError(f"needs exactly one of model, adapter, export, recorded; found {kinds or 'none'}")
        if self.serve is not None and not SERVE_PATTERN.fullmatch(self.serve):
            raise ValueError(f"serve: {self.serve!r} is not one of peft, merged, gguf-adapter, gguf:QUANT")
        if self.serve is not None and kinds[0] in ("model", "recorded"):
            raise ValueError(f"serve is for an adapter or an export, not for a {kinds[0]}")
        if kinds[0] == "adapter" and self.serve not in (None, "peft"):
            raise ValueError(f"an adapter is served by peft; for {self.serve!r} name an export")
        if kinds[0] == "export" and (self.serve is None or self.serve == "peft"):
            raise ValueError("an export needs serve: gguf:QUANT, gguf-adapter or merged")
        return self


class Rubric(Section):
    """Component scores by judges, with a recomputed weighted overall."""

    file: str = Field(description="YAML: components {NAME: {weight, scale, description}}, critical_failures")
    judges: list[Name] = Field(min_length=1, description="models that judge")
    subjects: list[Name] | None = Field(None, description="whose answers are judged; null: everybody's")
    repeats: int = Field(1, ge=1, description="verdicts of one judge on one answer")
    limit: int | None = Field(None, ge=1, description="judge only so many prompts of each target set")


class Pairwise(Section):
    """Blind comparison of two subjects' answers, each pair asked in both orders."""

    pairs: list[tuple[Name, Name]] = Field(min_length=1, description="pairs of subjects")
    judges: list[Name] = Field(min_length=1, description="models that judge")
    limit: int | None = Field(None, ge=1, description="judge only so many prompts of each target set")


class Gates(Section):
    """Bounds that the report checks."""

    student_over_gold: Share | None = Field(None, description="least share of gold's capped score that students reach")
    leakage: Share | None = Field(None, description="greatest capped score of students on forgetting sets")


class Evaluation(Section):
    """Prompt sets x subjects x metrics x judges, and one report."""

    prompts: dict[Name, EvaluationSet] = Field(min_length=1, description="held-out sets: a file, or {file, role}")
    subjects: dict[Name, Subject] = Field(min_length=1, description="who is evaluated")
    sampling: Sampling = Field(Sampling(max_tokens=160), description="how subjects answer")
    markers: str | None = Field(None, description="YAML: {cap, markers: [text or {pattern: regex}]}")
    rubric: Rubric | None = Field(None, description="rubric judging; null: none")
    pairwise: Pairwise | None = Field(None, description="pairwise judging; null: none")
    judging: Sampling = Field(Sampling(max_tokens=160), description="how judges answer")
    gates: Gates = Field(Gates(), description="bounds that the report checks")

    @field_validator("prompts", mode="before")
    @classmethod
    def _plain_files(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"file": v} if isinstance(v, str) else v for k, v in value.items()}
        return value
