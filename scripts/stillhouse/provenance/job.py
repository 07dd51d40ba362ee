"""Runs a rule's `main` between hashing its inputs and writing its record."""

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError, StillhouseError
from stillhouse.provenance import store
from stillhouse.provenance.code import WORKFLOW, asks_trained, code_digest
from stillhouse.provenance.digests import digest_json
from stillhouse.provenance.guards import guards_of
from stillhouse.provenance.logs import set_up_logging
from stillhouse.provenance.records import USAGE, digest_of, git_state, host, now, seeds_of, usage_of, write_record

logger = logging.getLogger(__name__)

Facts = dict[str, Any]


class Files:
    """Named files of a job: `files.x` is a Path, or a list of Paths where the rule names several."""

    def __init__(self, named: dict[str, Path | list[Path]]) -> None:
        self._named = named

    def __getattr__(self, name: str) -> Any:
        try:
            return self._named[name]
        except KeyError:
            raise AttributeError(f"the rule names no {name!r}; it has {', '.join(self._named)}") from None

    def get(self, name: str) -> list[Path]:
        """The files under `name` as a list, empty when the rule names none."""
        value = self._named.get(name, [])
        return value if isinstance(value, list) else [value]

    def flat(self, *, leaving_out: tuple[str, ...] = ()) -> list[tuple[str, Path]]:
        """(name, file) of every file in the rule's order."""
        return [(name, path) for name in self._named if name not in leaving_out for path in self.get(name)]


@dataclass(frozen=True)
class Params:
    """What a `main` may know besides its files: recipe (plain types), operational config, build key, resources, bounds."""

    rule: str
    wildcards: dict[str, str]
    recipe: dict[str, Any]
    config: dict[str, Any]
    key: str
    threads: int
    resources: dict[str, int]
    guards: dict[str, float]

    @property
    def writer(self) -> str:
        """Name of this job in the ledger's files."""
        return "-".join([self.rule, *self.wildcards.values()])


Main = Callable[[Files, Files, Params], Facts | None]
Content = Callable[[Files, Facts], dict[str, str]]
"""Digests that stand for whole files in the build key, by input name: a shard depends on its own rows only."""


def _files(named: Any) -> Files:
    """Snakemake's Namedlist as `Files`; every file of our rules is named."""
    return Files({k: Path(v) if isinstance(v, str) else [Path(item) for item in v] for k, v in named.items()})


def _param(params: Any, name: str) -> str:
    """A rule's param without the name that it starts with."""
    return str(getattr(params, name)).removeprefix(f"{name} ")


def run_job(main: Main, script: str, snakemake: Any, *, content: Content | None = None) -> None:
    """Run `main(inputs, outputs, params)` as the job that `snakemake` describes.

    Hashes the inputs, reuses a finished artefact of the same build key, checks that no input changed meanwhile,
    and writes the record. `content` narrows what of an input the build key counts. Outside Snakemake (`snakemake`
    is None) the job is that of the file named on the command line.
    """
    if snakemake is None:
        snakemake = _job_by_hand(Path(script).stem)
    set_up_logging(Path(snakemake.log[0]) if snakemake.log else None)
    try:
        _run(main, Path(script), snakemake, content)
    except StillhouseError as error:
        logger.error("%s", error)
        print(f"\n{type(error).__name__}: {error}\n", file=sys.stderr)
        sys.exit(1)
    except Exception:
        logger.exception("%s failed", snakemake.rule)
        raise


def _job_by_hand(script: str) -> Any:
    """The job of the file on the command line; a wrong file ends with one line, not a traceback."""
    from stillhouse.provenance.debug import resolve_job

    try:
        return resolve_job(script, sys.argv[1:])
    except StillhouseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _run(main: Main, script: Path, snakemake: Any, content: Content | None) -> None:
    started, clock = now(), time.monotonic()
    inputs, outputs = _files(snakemake.input), _files(snakemake.output)
    stamps = {path: _stamp(path) for _, path in inputs.flat()}
    digests = [(name, digest_of(path)) for name, path in inputs.flat()]
    recipe = json.loads(_param(snakemake.params, "recipe"))
    code = code_digest(_workflow_script(script), serving=asks_trained(recipe))
    software = json.loads(_param(snakemake.params, "software"))
    narrowed = content(inputs, recipe) if content else {}
    contents = [[name, narrowed.get(name, digest.sha256)] for name, digest in digests]
    key = build_key(snakemake.rule, contents, recipe, code.digest, software)
    wildcards = dict(sorted(dict(snakemake.wildcards.items()).items()))
    resources = {name: value for name, value in snakemake.resources.items() if isinstance(value, int)}
    config, guards = snakemake.config, guards_of(snakemake.config)
    params = Params(snakemake.rule, wildcards, recipe, config, key, snakemake.threads, resources, guards)
    made = [path for _, path in outputs.flat(leaving_out=("record",))]
    kept = store.restore(key, made)
    if kept:
        logger.info("reused: the artefacts of build key %s are in the store", key)
        facts = kept.facts
    else:
        facts = main(inputs, outputs, params) or {}
    _check_unchanged(stamps, snakemake.rule)
    artefacts = [digest_of(path) for path in made]
    run = _this_run(started, time.monotonic() - clock, snakemake.threads)
    # what holds failed calls is asked again rather than reused
    if not kept and not facts.get("failed"):
        store.save(key, artefacts, store.Kept(snakemake.rule, facts, run))
    record = {
        "artefacts": [artefact.plain() for artefact in artefacts],
        "inputs": [{"name": name, **digest.plain()} for name, digest in digests],
        "key": key,
        "contents": narrowed,
        "rule": snakemake.rule,
        "wildcards": wildcards,
        "recipe": recipe,
        "seeds": seeds_of(recipe),
        "code": {"digest": code.digest, "files": code.files},
        "software": software,
        "models": facts.get("models", []),
        "usage": usage_of(facts),
        "facts": {name: value for name, value in facts.items() if name not in ("models", *USAGE)},
        "reused": bool(kept),
        "origin": kept.run if kept else None,
        "accepted": [],
        "study": {"name": snakemake.config.get("study"), "digest": digest_json(snakemake.config)},
        "run": run,
    }
    write_record(outputs.record, record)
    logger.info("%s done in %.1f s", snakemake.rule, time.monotonic() - clock)


def _check_unchanged(stamps: dict[Path, tuple[int, int] | None], rule: str) -> None:
    """Refuse what was made while an input changed: its record would name bytes that were not read."""
    for path, stamp in stamps.items():
        if _stamp(path) != stamp:
            raise RecordError(f"{path} changed while {rule} read it; run again")


def _this_run(started: str, seconds: float, threads: int) -> dict[str, Any]:
    """When, where and with which workflow the work was done."""
    return {
        "started": started,
        "finished": now(),
        "seconds": round(seconds, 3),
        "host": host(),
        "python": platform.python_version(),
        "threads": threads,
        "workflow": git_state(WORKFLOW),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def build_key(rule: str, contents: list[list[str]], recipe: dict[str, Any], code: str, software: dict[str, str]) -> str:
    """The build key: everything that decides an artefact's bytes ((input name, sha256) pairs first), and no path."""
    return digest_json({"rule": rule, "inputs": contents, "recipe": recipe, "code": code, "software": software})


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _workflow_script(script: Path) -> Path:
    """Snakemake runs a copy of the script; the code digest is that of the original."""
    return WORKFLOW / "scripts" / script.name
