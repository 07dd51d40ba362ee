"""Who gets how much of a model's limits: one Snakemake resource a model, counted in slots of its `concurrency`.

A job asks for some of a model's slots and gets the same part of its other limits. Snakemake starts no job whose slots
are not free, so the sum over all running jobs never passes a limit, on one machine or on a cluster.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.study.models import Limits, Model, OpenAIModel

RUN = Path(".stillhouse/slots.json")

FEWEST_A_MINUTE = 60
"""Jobs beside each other get at least so many requests a minute each: a job's first one then makes no minute too full."""


def slots_resource(model: str) -> str:
    """The resource that stands for `model`: `slots_` and its name, other characters than letters and digits as `_2e`."""
    escaped = "".join(c if c.isascii() and c.isalnum() else "".join(f"_{b:02x}" for b in c.encode()) for c in model)
    return f"slots_{escaped}"


@dataclass(frozen=True)
class Part:
    """Which of how many like it a job is: shard 2 of 8. A job on its own is number 0 of 1."""

    number: int = 0
    of: int = 1


def slots_of(limits: Limits, total: int, part: Part, at_once: int) -> int:
    """Slots for one job out of the `total`, where `at_once` jobs can run beside each other; at least one.

    What is left over goes to the first ones. A rate that is too small to be divided is not.
    """
    jobs = max(1, min(part.of, at_once, total))
    share = total // jobs + (part.number % jobs < total % jobs)
    rates = [limits.requests_per_minute] if limits.requests_per_minute else []
    least = max((-(-limits.concurrency // max(1, rate // FEWEST_A_MINUTE)) for rate in rates), default=1)
    return max(1, min(total, max(share, least)))


class Shares:
    """The slots of a study's models in one run of Snakemake; `workflow` is Snakemake's own object.

    A cluster's job is a Snakemake of its own, which is told neither --jobs nor what the first one counts by: that one
    leaves both in `RUN` before any job starts (`announce`), and the others read it there.
    """

    def __init__(self, models: dict[str, Model], workflow: Any) -> None:
        self._limits = {name: model.limits for name, model in models.items() if isinstance(model, OpenAIModel)}
        self._workflow = workflow
        told = None if workflow.is_main_process else _read(RUN)
        self._at_once = told["at_once"] if told else _most_jobs(workflow)
        # a job that is told nothing takes the least there is
        unknown = None if workflow.is_main_process else 1
        self._totals = {
            name: (told or {}).get("totals", {}).get(name, unknown or self._total(name)) for name in self._limits
        }
        for name, total in self._totals.items():
            workflow.register_resource(slots_resource(name), total)

    def __iter__(self) -> Iterator[str]:
        """Names of the models that have limits."""
        return iter(self._limits)

    def slots(self, model: str, part: Part) -> int:
        """What a job asks Snakemake for; the same number in the first process and in the job's own."""
        return slots_of(self._limits[model], self._totals[model], part, self._at_once)

    def announce(self) -> None:
        """Hook `onstart`: leave what the jobs' own processes need."""
        RUN.parent.mkdir(exist_ok=True)
        temporary = RUN.with_name(f".{RUN.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"at_once": self._at_once, "totals": self._totals}))
        os.replace(temporary, RUN)

    def _total(self, model: str) -> int:
        """The model's slots, or fewer where the user says so by --resources."""
        given = self._workflow.global_resources.get(slots_resource(model))
        most = self._limits[model].concurrency
        return most if given is None or given.value is None else max(1, min(most, given.value))


def _most_jobs(workflow: Any) -> int:
    """Most jobs beside each other: --jobs on a cluster, else --cores."""
    settings = workflow.resource_settings
    return settings.nodes or settings.cores or 1


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
