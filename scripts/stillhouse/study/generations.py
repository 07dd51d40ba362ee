"""The `prompts` and `generations` sections: what is asked, and how it is answered."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from stillhouse.study.base import Language, Licence, Name, Sampling, Section, Share, Terms
from stillhouse.study.external_check import ExternalCheck


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class PromptSet(Section):
    """A file of prompts, one JSON object a line."""

    file: str = Field(description='JSONL: {"id"?, "prompt" | "messages", "category"?, "difficulty"?, ...} a line')
    limit: int | None = Field(None, ge=1, description="take only so many, the same ones whatever the file's order")
    licence: Licence | None = Field(None, description="licence of the prompts, for cards and exports")
    terms: Terms = Field(Terms(), description="what else holds for the prompts")
    language: Language | None = Field(None, description="language of the prompts, for cards: en, de, fr ...")


class Route(Section):
    """Prompts whose first draft comes from other models than the rest."""

    category: list[str] | None = Field(None, description="prompts of these categories ...")
    pattern: Pattern | None = Field(None, description="... whose text matches this regular expression")
    models: list[Name] = Field(min_length=1, description="the teacher; of several a seeded choice for each prompt")

    @model_validator(mode="after")
    def _says_which(self) -> "Route":
        if self.category is None and self.pattern is None:
            raise ValueError("a route needs category, pattern or both")
        return self

    def takes(self, category: str | None, text: str) -> bool:
        """Whether a prompt goes this way."""
        fits = self.category is None or category in self.category
        return fits and (self.pattern is None or re.search(self.pattern, text) is not None)


class Roles(Section):
    """Models of a tournament's roles, where they differ from the generation's `model`."""

    teacher: Name | None = Field(None, description="writes the first draft")
    critic: Name | None = Field(None, description="lists flaws of the incumbent, or replies NO FLAWS")
    author: Name | None = Field(None, description="writes the adversarial revision B")
    synthesizer: Name | None = Field(None, description="writes the conservative synthesis AB")
    judges: list[Name] = Field([], description="models of the panel, used in turn")


class Tournament(Section):
    """The AutoReason loop: how many judges and rounds, and when it has converged."""

    judges: int = Field(3, ge=1, le=25, description="votes a round")
    max_rounds: int = Field(2, ge=1, le=50, description="rounds at most")
    convergence: int = Field(2, ge=1, description="defences of A in a row that end the tournament as converged")
    templates: str = Field("data/tournament", description="folder with the roles' Jinja templates")
    every_vote: bool = Field(
        False, description="ask the whole panel even between candidates that are equal to the byte"
    )
    judge_form: bool = Field(True, description="hold the judges' ranking line by a grammar where the backend can")


class Budget(Section):
    """A stop before too much is spent; what was paid for stays in the ledger."""

    calls: int | None = Field(None, ge=1, description="most calls of the generation, replayed ones counted")
    tokens: int | None = Field(None, ge=1, description="most tokens of the generation, prompts and answers together")
    usd: float | None = Field(None, gt=0, description="most USD of the generation; needs prices")


class Failures(Section):
    """How many failed prompts a generation bears."""

    max_share: Share = Field(0.05, description="a larger share of failed prompts stops the run")


class Generation(Section):
    """A prompt set answered by a method."""

    prompts: Name = Field(description="name of a prompt set")
    method: Literal["single", "tournament"] = Field("single", description="one pass, or AutoReason rounds")
    model: Name = Field(description="model for every role that `roles` does not name")
    roles: Roles = Field(Roles(), description="models by role (tournament only)")
    routes: list[Route] = Field([], description="teachers of some prompts; the first route that takes a prompt holds")
    system: str | None = Field(None, description="file with the teacher's system prompt")
    grammar: str | None = Field(None, description="file that holds the teacher's form: a JSON schema (.json) or GBNF")
    tournament: Tournament = Field(Tournament(), description="the tournament's size (tournament only)")
    sampling: Sampling = Field(Sampling(temperature=0.7, top_p=0.95), description="how tokens are drawn")
    shards: int = Field(1, ge=1, le=100_000, description="jobs the prompt set is divided into")
    budget: Budget = Field(Budget(), description="stop before it is passed")
    failures: Failures = Field(Failures(), description="how many failures are borne")
    external_check: ExternalCheck | None = Field(
        None, description="judge final answers against first drafts (tournament only); null: do not"
    )
