"""Finds a rule's job outside Snakemake, so that a script can be run and stepped through by hand.

`python scripts/train_adapter.py results/adapters/mixed/adapter_model.safetensors [--configfile FILE]`
"""

import argparse
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.provenance.graph import open_graph


def resolve_job(script: str, arguments: list[str]) -> Any:
    """The job of `script`'s rule that makes the file named in `arguments`, with input, output, params ...

    Raises `StillhouseError` when no rule with this script makes the file, or the study is wrong.
    """
    parser = argparse.ArgumentParser(prog=f"{script}.py", description="Run one job outside Snakemake.")
    parser.add_argument("target", help="an output file of the rule")
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="study, when not config/config.yaml")
    options = parser.parse_args(arguments)
    with open_graph({options.target}, options.configfile, force=True) as graph:
        wanted = [job for job in graph.jobs if _script_of(job) == script and options.target in job.output]
        if not wanted:
            raise StillhouseError(f"no job of {script}.py makes {options.target}")
        return _AsSnakemake(wanted[0])


def _script_of(job: Any) -> str:
    return Path(job.rule.script).stem if job.rule.script else ""


class _AsSnakemake:
    """A job with the attributes that Snakemake gives to scripts."""

    def __init__(self, job: Any) -> None:
        self.input, self.output, self.params, self.log = job.input, job.output, job.params, job.log
        self.wildcards, self.threads, self.rule = job.wildcards, job.threads, job.rule.name
        self.config, self.resources = job.rule.workflow.config, job.resources
