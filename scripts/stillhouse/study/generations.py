"""The `generations` section: how prompts are answered."""

import re
from typing import Literal

from pydantic import Field, model_validator

from stillhouse.study.base import Name, Pattern, Sampling, Section, Share
from stillhouse.study.external_check import ExternalCheck
from stillhouse.study.quality import Quality


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


class Context(Section):
    """Passages of a corpus that go into the prompts of the roles which write answers."""

    corpus: str = Field(description="text file, folder of text files (*.md, *.txt), or a pattern of names")
    top_k: int = Field(3, ge=1, le=50, description="passages a prompt is given, by BM25")
    chunk_words: int = Field(200, ge=20, description="words of a passage")
    overlap_words: int = Field(40, ge=0, description="words that a passage repeats of the one before it")
    min_score: float = Field(0.0, ge=0.0, description="passages of a lower BM25 score are left out")
    pinned: str | None = Field(None, description="key of a prompt's own metadata that names files it is always given")
    template: str | None = Field(None, description="Jinja template of the passages; null: the shipped one")

    @model_validator(mode="after")
    def _moves_on(self) -> "Context":
        if self.overlap_words >= self.chunk_words:
            raise ValueError(f"overlap_words {self.overlap_words} must be less than chunk_words {self.chunk_words}")
        return self


class Dialogue(Section):
    """Two models that talk, or one with itself; the prompt is the first turn."""

    turns: int = Field(3, ge=1, le=99, description="turns after the prompt, the model's and the partner's together")
    partner: Name | None = Field(None, description="model that plays the user; null: the generation's own")
    system: str | None = Field(None, description="file with the partner's system prompt")

    @model_validator(mode="after")
    def _ends_with_the_model(self) -> "Dialogue":
        if self.turns % 2 == 0:
            raise ValueError(f"turns must be odd, so that the model speaks last; found {self.turns}")
        return self


class Generation(Section):
    """A prompt set answered by a method."""

    prompts: Name = Field(description="name of a prompt set")
    method: Literal["single", "tournament", "dialogue"] = Field(
        "single", description="one pass, AutoReason rounds, or a talk of two models"
    )
    samples: int = Field(1, ge=1, le=1000, description="answers to each prompt")
    model: Name = Field(description="model for every role that `roles` does not name")
    roles: Roles = Field(Roles(), description="models by role (tournament only)")
    routes: list[Route] = Field([], description="teachers of some prompts; the first route that takes a prompt holds")
    system: str | None = Field(None, description="file with the teacher's system prompt")
    grammar: str | None = Field(None, description="file that holds the teacher's form: a JSON schema (.json) or GBNF")
    context: Context | None = Field(None, description="retrieved passages for the teacher; null: none")
    tournament: Tournament = Field(Tournament(), description="the tournament's size (tournament only)")
    dialogue: Dialogue = Field(Dialogue(), description="the talk's length and partner (dialogue only)")
    sampling: Sampling = Field(Sampling(temperature=0.7, top_p=0.95), description="how tokens are drawn")
    shards: int = Field(1, ge=1, le=100_000, description="jobs the prompt set is divided into")
    budget: Budget = Field(Budget(), description="stop before it is passed")
    failures: Failures = Field(Failures(), description="how many failures are borne")
    external_check: ExternalCheck | None = Field(
        None, description="judge final answers against first drafts (tournament only); null: do not"
    )
    quality: Quality | None = Field(None, description="score every answer, for filters of datasets; null: do not")

    @property
    def asked(self) -> list[str]:
        """Models that are asked for the answers, sorted."""
        roles = self.roles.model_dump(exclude_none=True)
        judges = roles.pop("judges", [])
        routed = [model for route in self.routes for model in route.models]
        partner = self.dialogue.partner if self.method == "dialogue" else None
        return sorted({self.model, *roles.values(), *judges, *routed, *([partner] if partner else [])})
