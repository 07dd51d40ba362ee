"""The `prompts` and `generations` sections: what is asked, and how it is answered."""

from typing import Literal

from pydantic import Field

from stillhouse.study.base import Language, Licence, Name, Sampling, Section, Share, Terms


class PromptSet(Section):
    """A file of prompts, one JSON object a line."""

    file: str = Field(description='JSONL: {"id"?, "prompt" | "messages", "category"?, "difficulty"?, ...} a line')
    limit: int | None = Field(None, ge=1, description="take only so many, the same ones whatever the file's order")
    licence: Licence | None = Field(None, description="licence of the prompts, for cards and exports")
    terms: Terms = Field(Terms(), description="what else holds for the prompts")
    language: Language | None = Field(None, description="language of the prompts, for cards: en, de, fr ...")


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
    judge_form: bool = Field(True, description="hold the judges' ranking line by a grammar where the backend can")


class Budget(Section):
    """A stop before too much is spent; what was paid for stays in the ledger."""

    calls: int | None = Field(None, ge=1, description="most calls of the generation, replayed ones counted")
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
    system: str | None = Field(None, description="file with the teacher's system prompt")
    grammar: str | None = Field(None, description="GBNF file that holds the teacher's form (llama_cpp only)")
    tournament: Tournament = Field(Tournament(), description="the tournament's size (tournament only)")
    sampling: Sampling = Field(Sampling(temperature=0.7, top_p=0.95), description="how tokens are drawn")
    shards: int = Field(1, ge=1, le=100_000, description="jobs the prompt set is divided into")
    budget: Budget = Field(Budget(), description="stop before it is passed")
    failures: Failures = Field(Failures(), description="how many failures are borne")
