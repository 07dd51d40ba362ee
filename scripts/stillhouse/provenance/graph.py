"""Snakemake's job graph from inside Python, for the tools that explain, adopt and accept."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from stillhouse.errors import StillhouseError
from stillhouse.provenance.code import WORKFLOW
from stillhouse.provenance.planning import ADOPTING, mark_unfinished

PROFILE = WORKFLOW / "profiles/default/config.yaml"


class Graph:
    """The jobs below some targets, planned as `snakemake` with the default profile plans them."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        self.persistence = workflow.persistence

    @property
    def jobs(self) -> list[Any]:
        """Jobs that make files, every one after those that it needs."""
        return [job for level in self._workflow.dag.toposorted() for job in level if job.output]

    def needs_run(self, job: Any) -> bool:
        """Whether Snakemake would run the job now."""
        return self._workflow.dag.needrun(job)

    def reason(self, job: Any) -> str:
        """Snakemake's own words for why it would run the job."""
        return str(self._workflow.dag.reason(job))

    def remember(self, job: Any) -> None:
        """Store the job's params and the checksums of its inputs, as after a run."""
        self._workflow.async_run(self.persistence.finished(job))

    def forget(self, job: Any) -> None:
        """Make the next plan run the job."""
        mark_unfinished(self._workflow, [job])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold Snakemake's lock of the folder; raises `StillhouseError` while another run holds it."""
        from snakemake.exceptions import LockException

        try:
            with self.persistence.lock():
                yield
        except LockException:
            raise StillhouseError("another Snakemake run works in this folder (after a kill: `make resume`)") from None


@contextmanager
def open_graph(targets: set[str], configfiles: list[Path], *, force: bool = False) -> Iterator[Graph]:
    """Plan `targets` (the default target when empty) in the working directory.

    `force` plans every job, needed or not. Raises `StillhouseError` with Snakemake's words when the study or a
    target is wrong.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import MissingInputException, MissingRuleException, RuleException, WorkflowError
    from snakemake.settings.types import ConfigSettings, ExecutionSettings, OutputSettings, Quietness, ResourceSettings

    os.environ[ADOPTING] = "1"
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                snakefile=WORKFLOW / "Snakefile",
                config_settings=ConfigSettings(configfiles=configfiles),
                resource_settings=ResourceSettings(cores=1),
            )
            dag = workflow.dag(dag_settings=_settings(targets, force))
            inner = dag.workflow_api._workflow
            inner.execution_settings = ExecutionSettings()  # what stores a job's memory asks it whether to
            inner._prepare_dag(forceall=force, ignore_incomplete=True, lock_warn_only=False)
            inner._build_dag()
            yield Graph(inner)
    except (MissingInputException, MissingRuleException, RuleException, WorkflowError) as error:
        raise StillhouseError(str(error)) from None
    finally:
        del os.environ[ADOPTING]


def _settings(targets: set[str], force: bool) -> Any:
    """The default profile's triggers and bounds: the tools must see the plan that a run would follow."""
    from humanfriendly import parse_size
    from snakemake.settings.types import DAGSettings, RerunTrigger

    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    return DAGSettings(
        targets=targets,
        forceall=force,
        rerun_triggers=frozenset(RerunTrigger.parse_choice(name) for name in profile["rerun-triggers"]),
        max_checksum_file_size=parse_size(profile["max-checksum-file-size"]),
    )
