"""What a generation's jobs need of the study."""

from stillhouse.study.base import Sampling, Section
from stillhouse.study.generations import Budget, Failures, Roles, Tournament


class ShardSettings(Section):
    """How one shard of prompts is answered. Texts (system, grammar, templates) come as files."""

    generation: str
    method: str
    model: str
    roles: Roles
    tournament: Tournament | None
    sampling: Sampling
    shard: int
    shards: int
    budget: Budget

    def role(self, name: str) -> str:
        """Model of a role."""
        return getattr(self.roles, name) or self.model

    def judge(self, number: int) -> str:
        """Model of a judge: the pool is used in turn."""
        pool = self.roles.judges or [self.model]
        return pool[number % len(pool)]


class MergeSettings(Section):
    """What the merge of a generation's shards needs."""

    generation: str
    failures: Failures
