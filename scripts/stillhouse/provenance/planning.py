"""Keeps Snakemake's memory of finished jobs honest: hooks of the Snakefile, run in the planning process only.

Snakemake stores new params and checksums for a job that failed, and nothing for one that was killed. Where the
job's consumers are older but complete, the next plan then finds nothing to do over stale results. So every job of
a run is marked as unfinished before the first one starts (a kill leaves the marks), a finished job overwrites
its own mark, and the marks of those that failed are set again when the run ends.
"""

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.files import read_json, write_json
from stillhouse.provenance.guards import begin_counting
from stillhouse.provenance.layout import refused
from stillhouse.provenance.owner import OWNER, survivors
from stillhouse.provenance.records import host, now

UNFINISHED = "unfinished: this job was planned and did not end well"
LITTER = (".*.tmp", ".stage-*")
"""Names of `files.atomic_path`, `store.place_file` and `weights.staged_folder`."""
ADOPTING = "STILLHOUSE_ADOPTING"
MEMORY_TOKEN, RESULTS_TOKEN = Path(".snakemake/stillhouse.token.json"), Path("results/.token.json")


def mark_unfinished(workflow: Any, jobs: Iterable[Any]) -> None:
    """Make the next plan run `jobs`, whatever Snakemake stored of them."""
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord

    memory = workflow.persistence
    for job in jobs:
        for output in job.output:
            key = memory._get_key(output)
            record = memory._read_record(key) or MetadataRecord(rule=job.rule.name)
            record.params, record.record_format_version = [UNFINISHED], RECORD_FORMAT_VERSION
            memory._write_record(key, record)
    memory._clear_cache()


def begin_run(workflow: Any) -> None:
    """Hook `onstart`: mark what the run will do, and say who does it."""
    bind_memory()
    write_json(OWNER, {"host": host(), "pid": os.getpid(), "started": now()})
    begin_counting()
    sweep_litter(Path("results"))
    mark_unfinished(workflow, workflow.dag.needrun_jobs())


def sweep_litter(results: Path) -> None:
    """Remove what killed writers left under temporary names.

    The caller holds Snakemake's lock; where a job of an earlier run still lives nothing is removed.
    """
    if survivors():
        return
    for path in [path for pattern in LITTER for path in results.rglob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def end_run(workflow: Any) -> None:
    """Hooks `onsuccess` and `onerror`: mark again what did not finish."""
    mark_unfinished(workflow, workflow.dag.needrun_jobs())
    show_refused(Path("results"))
    OWNER.unlink(missing_ok=True)


def show_refused(results: Path) -> None:
    """Put the failures of a generation that stopped the run where they are looked for; its answers are not there."""
    for folder in results.glob("generations/*"):
        failures = folder / "failures.parquet"
        if refused(failures).exists() and not failures.exists():
            refused(failures).replace(failures)


def bind_memory() -> None:
    """Write one token into results/ and .snakemake/, so that planning sees when they do not belong together.

    Every run writes a new one: an older state of results/ that is put back is noticed too. While both are written,
    the old token counts as well.
    """
    token, old = secrets.token_hex(16), _tokens(MEMORY_TOKEN)
    write_json(MEMORY_TOKEN, [*old[-1:], token])
    write_json(RESULTS_TOKEN, [token])
    write_json(MEMORY_TOKEN, [token])


def unbind_memory() -> None:
    """Let planning stop until `bind_memory`: what is between the two may be cut off by a kill."""
    write_json(MEMORY_TOKEN, [secrets.token_hex(16)])


def _tokens(file: Path) -> list[str]:
    try:
        return list(read_json(file))
    except (OSError, ValueError):
        return []


def check_memory(folder: Path = Path(".")) -> None:
    """Refuse to plan over results that .snakemake/ does not know: changed values would go unseen.

    Raises `RecordError` that names `make adopt`.
    """
    if os.environ.get(ADOPTING):
        return
    memory = folder / ".snakemake"
    known = (memory / "metadata.db").is_file() or any((memory / "metadata").glob("*"))
    remembered, there = set(_tokens(folder / MEMORY_TOKEN)), set(_tokens(folder / RESULTS_TOKEN))
    if known and (remembered & there or not remembered | there):
        return
    record = next(_any_record(folder / "results"), None)
    if record is not None:
        told = "remembers other results" if known else "remembers none of it"
        raise RecordError(
            f"results/ holds finished work ({record.relative_to(folder)}) but .snakemake/ {told}. Were the results moved "
            "here without .snakemake/? Then `make adopt` checks every file against its record and takes it over. To build "
            "anew, delete all of results/ but results/ledger"
        )


def _any_record(results: Path) -> Iterable[Path]:
    for pattern in ("*/*.record.json", "*/*/record.json", "*/*/*.record.json", "*/*/*/*.record.json"):
        yield from results.glob(pattern)
