"""The `evaluations` section: who is asked what, and how the answers are measured."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from stillhouse.study.base import Name, Sampling, Section
from stillhouse.study.gates import Category, Gates, Rules
from stillhouse.study.serve import SERVE, check_serve, only_kind
from stillhouse.study.verdict_words import check_axes


class EvaluationSet(Section):
    """Held-out prompts and the part that they play."""

    file: str = Field(description="JSONL of prompts, as in a prompt set; recorded answers with prompts will do")
    role: Literal["target", "forgetting"] = Field("target", description="markers on `forgetting` are leakage")
    categories: list[Category] | None = Field(None, min_length=1, description="take prompts of these categories only")
    except_categories: list[Category] = Field([], description="leave prompts of these categories out")


class Subject(Section):
    """Who is evaluated: exactly one of model, adapter, export, recorded."""

    condition: str | None = Field(
        None, description="gold, student, ablation, vanilla, or any name; default: the subject's"
    )
    model: Name | None = Field(None, description="a model as it is")
    adapter: Name | None = Field(None, description="an adapter on its base")
    export: Name | None = Field(None, description="an exported model")
    recorded: str | None = Field(None, description="JSONL of recorded answers: {id, response, ...} a line")
    serve: str | None = Field(None, description=SERVE)
    system: str | None = Field(None, description="file with a system prompt")
    context: list[str] = Field([], description="files whose text stands before every prompt, as a corpus does")
    wrap: str | None = Field(None, description="file that each prompt is put into, in place of `{{ prompt }}`")
    grammar: str | None = Field(None, description="file that holds the form: a JSON schema (.json) or GBNF")

    @model_validator(mode="after")
    def _one_kind(self) -> "Subject":
        kind = only_kind(self, ("model", "adapter", "export", "recorded"))
        check_serve(kind, self.serve)
        given = [k for k in ("system", "context", "wrap", "grammar") if getattr(self, k)]
        if kind == "recorded" and given:
            raise ValueError(f"recorded answers are given already; {given[0]} would change nothing")
        return self


class Rubric(Section):
    """Component scores by judges, with a recomputed weighted overall."""

    file: str = Field(
        "data/rubrics/foundry.yaml",
        description="YAML: components {NAME: {weight, scale, description}}, critical_failures",
    )
    judges: list[Name] = Field([], description="models that judge")
    recorded: dict[Name, str] = Field({}, description="JSONL of recorded judgements, by subject")
    subjects: list[Name] | None = Field(None, description="whose answers are judged; null: everybody's")
    repeats: int = Field(1, ge=1, description="verdicts of one judge on one answer")
    limit: int | None = Field(None, ge=1, description="judge only so many prompts of each target set")

    @model_validator(mode="after")
    def _somebody_judges(self) -> "Rubric":
        if not self.judges and not self.recorded:
            raise ValueError("needs judges, or recorded judgements")
        idle = [key for key in ("subjects", "repeats", "limit") if not self.judges and key in self.model_fields_set]
        if idle:
            raise ValueError(f"{idle[0]}: judgements are recorded; only live judging has it")
        return self


class Pairwise(Section):
    """Blind comparison of two subjects' answers, each pair asked in both orders."""

    pairs: list[tuple[Name, Name]] = Field([], description="pairs of subjects, the candidate first")
    round_robin: list[Name] = Field([], description="subjects that are all compared with each other")
    judges: list[Name] = Field([], description="models that judge")
    recorded: str | None = Field(None, description="JSONL of recorded verdicts")
    repeats: int = Field(1, ge=1, description="verdicts of one judge on one pair in one order")
    axes: Annotated[list[Name], AfterValidator(check_axes)] = Field(
        [], description="what judges also compare, besides the whole: usefulness, voice ..."
    )
    reasons: bool = Field(False, description="judges say why, in one sentence before the verdict")
    control: Name | None = Field(None, description="A/A control: this subject is compared with itself")
    limit: int | None = Field(None, ge=1, description="judge only so many prompts of each target set")

    @model_validator(mode="after")
    def _something_to_compare(self) -> "Pairwise":
        live = self.pairs or self.round_robin or self.control
        if not live and self.recorded is None:
            raise ValueError("needs pairs, a round_robin, or recorded verdicts")
        if bool(live) != bool(self.judges):
            raise ValueError("pairs need judges" if live else "judges need pairs or a round_robin")
        if len(self.round_robin) == 1 or len(set(self.round_robin)) < len(self.round_robin):
            raise ValueError("round_robin: needs two subjects at least, each once")
        idle = [key for key in ("repeats", "axes", "reasons", "limit") if not live and key in self.model_fields_set]
        if idle:
            raise ValueError(f"{idle[0]}: verdicts are recorded; only live judging has it")
        return self


class Breaks(Section):
    """Character breaks: answers that fall out of the role that was trained."""

    patterns: str = Field(
        "data/framework/breaks.yaml", description="patterns of a break, in the form of a markers file"
    )
    judges: list[Name] = Field([], description="models that are asked whether an answer breaks character")
    limit: int | None = Field(None, ge=1, description="judge only so many prompts of each target set")

    @model_validator(mode="after")
    def _limit_of_judges(self) -> "Breaks":
        if self.limit is not None and not self.judges:
            raise ValueError("limit: patterns go over all answers; only judges have a limit")
        return self


class Evaluation(Section):
    """Prompt sets x subjects x metrics x judges, and one report."""

    prompts: dict[Name, EvaluationSet] = Field(
        {}, description="held-out sets: a file, or {file, role, categories}; default: the recorded answers' own prompts"
    )
    subjects: dict[Name, Subject] = Field({}, description="who is evaluated")
    sampling: Sampling = Field(Sampling(max_tokens=160), description="how subjects answer")
    samples: int = Field(1, ge=1, description="answers of one subject to one prompt")
    markers: str | None = Field(None, description="YAML: {cap, markers: [text or {pattern: regex}]}")
    breaks: Breaks | None = Field(None, description="character breaks; null: not looked for")
    checks: bool = Field(False, description="whether the `expect` of prompts is checked by program")
    rubric: Rubric | None = Field(None, description="rubric judging; null: none")
    pairwise: Pairwise | None = Field(None, description="pairwise judging; null: none")
    judging: Sampling = Field(Sampling(max_tokens=160), description="how judges answer")
    categories: list[Category] = Field([], description="categories that the report must show; each needs prompts")
    rules: Rules = Field(Rules(), description="what the report's words mean")
    gates: Gates = Field(Gates(), description="bounds that the report checks")

    @field_validator("prompts", mode="before")
    @classmethod
    def _plain_files(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"file": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _something_to_evaluate(self) -> "Evaluation":
        recorded = [subject.recorded for subject in self.subjects.values() if subject.recorded is not None]
        verdicts = (self.rubric and self.rubric.recorded) or (self.pairwise and self.pairwise.recorded)
        if not self.subjects and not verdicts:
            raise ValueError("needs subjects, or recorded judgements or verdicts")
        if not self.prompts and len(recorded) < len(self.subjects):
            raise ValueError("needs prompts: not every subject's answers are recorded")
        return self

    @property
    def sets(self) -> dict[str, EvaluationSet]:
        """The prompt sets; without any, the prompts of the first subject's recorded answers are the set `recorded`."""
        files = [subject.recorded for subject in self.subjects.values() if subject.recorded is not None]
        return self.prompts or ({"recorded": EvaluationSet(file=files[0])} if files else {})

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Pairs that judges compare, named ones first, each once."""
        pairwise = self.pairwise
        if pairwise is None:
            return []
        names = pairwise.round_robin
        robin = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
        new = [pair for pair in robin if pair not in pairwise.pairs and pair[::-1] not in pairwise.pairs]
        return [*dict.fromkeys(pairwise.pairs), *new]
