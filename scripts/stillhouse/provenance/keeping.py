"""Takes finished work over: results that were moved without .snakemake/, and artefacts after a pure refactoring."""

from dataclasses import dataclass, field
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance import store
from stillhouse.provenance.changes import Change, changes, record_of
from stillhouse.provenance.code import WORKFLOW, asks_trained, code_digest
from stillhouse.provenance.graph import Graph
from stillhouse.provenance.job import build_key
from stillhouse.provenance.planning import bind_memory, unbind_memory
from stillhouse.provenance.records import git_state, now, write_record


@dataclass
class Outcome:
    """What was taken over, what is not built yet, and why the rest was refused: first artefact -> reasons."""

    kept: list[str] = field(default_factory=list)
    unbuilt: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)


def name_of(job: Any) -> str:
    """The artefact that a job is told by."""
    return str(job.output[0])


def adopt(graph: Graph, *, partly: bool = False) -> Outcome:
    """Make Snakemake remember every job whose record agrees with the study, the code and the files.

    With any disagreement nothing is taken over, or with `partly` all but the jobs that disagree, which then run.
    """
    outcome, agreed = Outcome(), []
    for job in graph.jobs:
        try:
            record = record_of(job)
        except RecordError as error:
            outcome.refused[name_of(job)] = [str(error)]
            continue
        if record is None:
            outcome.unbuilt.append(name_of(job))
        elif found := changes(job, record):
            outcome.refused[name_of(job)] = [str(change) for change in found]
        else:
            agreed.append(job)
    if outcome.refused and not partly:
        return outcome
    unbind_memory()
    for job in agreed:
        graph.remember(job)
        outcome.kept.append(name_of(job))
    for job in graph.jobs:
        if name_of(job) in outcome.refused:
            graph.forget(job)
    bind_memory()
    return outcome


def accept(graph: Graph, reason: str) -> Outcome:
    """Keep every planned artefact whose record differs from the plan in code alone; both digests stay in the record.

    With any other difference nothing is accepted.
    """
    outcome, accepted = Outcome(), []
    for job in graph.jobs:
        record = record_of(job)
        if record is None:
            outcome.unbuilt.append(name_of(job))
            continue
        found = changes(job, record)
        others = [str(change) for change in found if change.aspect != "code"]
        if others:
            outcome.refused[name_of(job)] = others
        elif found:
            accepted.append((job, record, found))
    if outcome.refused:
        return outcome
    for job, record, found in accepted:
        _accept_job(job, record, found, reason)
        graph.remember(job)
        outcome.kept.append(name_of(job))
    return outcome


def _accept_job(job: Any, record: dict[str, Any], found: list[Change], reason: str) -> None:
    """Write the job's record with its new code digest and key, the old ones under `accepted`."""
    script = WORKFLOW / "scripts" / job.rule.script.rsplit("/", 1)[-1]
    code = code_digest(script, serving=asks_trained(record["recipe"]))
    narrowed = record.get("contents", {})
    contents = [[item["name"], narrowed.get(item["name"], item["sha256"])] for item in record["inputs"]]
    key = build_key(record["rule"], contents, record["recipe"], code.digest, record["software"])
    note = {
        "key": record["key"],
        "code": record["code"]["digest"],
        "files": [change.key for change in found],
        "reason": reason,
        "at": now(),
        "workflow": git_state(WORKFLOW),
    }
    store.copy_entry(record["key"], key)
    changed = {
        **record,
        "key": key,
        "code": {"digest": code.digest, "files": code.files},
        "accepted": [*record.get("accepted", []), note],
    }
    write_record(job.output.record, changed)
