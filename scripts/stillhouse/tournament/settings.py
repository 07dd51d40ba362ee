"""What a generation's jobs need of the study."""

from typing import Any

from stillhouse.provenance.digests import seed_from
from stillhouse.study.base import Sampling, Section
from stillhouse.study.generations import Dialogue, Failures, Roles, Route, Tournament


class ContextSettings(Section):
    """How passages of a corpus are found; `context_root` is the folder that the names of its files are relative to."""

    top_k: int = 3
    chunk_words: int = 200
    overlap_words: int = 40
    min_score: float = 0.0
    pinned: str | None = None
    context_root: str = "."


class ShardSettings(Section):
    """How one shard of prompts is answered. Texts (system, grammar, templates, corpus) come as files.

    `samples`, `dialogue` and `context` have the study's defaults: a recipe that leaves them out is that of before them.
    """

    generation: str
    method: str
    model: str
    roles: Roles
    routes: list[Route]
    tournament: Tournament | None
    sampling: Sampling
    shard: int
    shards: int
    samples: int = 1
    dialogue: Dialogue = Dialogue()
    context: ContextSettings | None = None

    def role(self, name: str) -> str:
        """Model of a role."""
        return getattr(self.roles, name) or self.model

    def teacher(self, row: dict[str, Any]) -> str:
        """Model of a prompt's first draft: that of the first route which takes it, else the teacher's."""
        for route in self.routes:
            if route.takes(row["category"], row["prompt"]):
                return route.models[seed_from(self.sampling.seed, row["prompt_id"], "route") % len(route.models)]
        return self.role("teacher")

    def judge(self, number: int) -> str:
        """Model of a judge: the pool is used in turn."""
        pool = self.roles.judges or [self.model]
        return pool[number % len(pool)]


class MergeSettings(Section):
    """What the merge of a generation's shards needs."""

    generation: str
    failures: Failures
