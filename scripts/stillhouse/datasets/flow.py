"""The flow of a build: at every stage what came in, what was kept, and what was dropped for which reason."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One stage, of one source or (None) of all: `came` = `kept` + everything in `dropped`, in `unit`."""

    stage: str
    source: str | None
    unit: str
    came: int
    kept: int
    dropped: dict[str, int]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        told = {"stage": self.stage, "source": self.source, "unit": self.unit}
        return {**told, "in": self.came, "kept": self.kept, "dropped": self.dropped}


@dataclass
class Flow:
    """Steps in the order in which rows pass them."""

    steps: list[Step] = field(default_factory=list)

    def enter(
        self,
        stage: str,
        came: int,
        kept: int,
        dropped: Mapping[str, int],
        *,
        source: str | None = None,
        unit: str = "answers",
    ) -> None:
        """Enter one step; reasons that took nothing are left out."""
        counts = {reason: count for reason, count in sorted(dropped.items()) if count}
        self.steps.append(Step(stage, source, unit, came, kept, counts))

    def plain(self) -> list[dict[str, Any]]:
        """For report.json."""
        return [step.plain() for step in self.steps]

    def check(self) -> None:
        """Raises `RuntimeError` where a step does not add up, or does not begin with what the one before left."""
        for step in self.steps:
            if step.came != step.kept + sum(step.dropped.values()):
                raise RuntimeError(f"{step.stage}: {step.came} in, {step.kept} kept, dropped: {step.dropped}")
        totals = self._totals()
        for before, after in itertools.pairwise(totals):
            if before.unit == after.unit and before.kept != after.came:
                raise RuntimeError(f"{before.stage} kept {before.kept}, and {after.came} came to {after.stage}")

    def _totals(self) -> list[Step]:
        """Stages without their sources: steps of one stage and unit as one."""
        groups: dict[tuple[str, str], list[Step]] = {}
        for step in self.steps:
            groups.setdefault((step.stage, step.unit), []).append(step)
        return [
            Step(stage, None, unit, sum(s.came for s in steps), sum(s.kept for s in steps), {})
            for (stage, unit), steps in groups.items()
        ]
