"""What differs between the record of a job and the job as it is planned now."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.code import WORKFLOW, asks_trained, code_digest
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.records import read_record


@dataclass(frozen=True)
class Change:
    """One difference: `aspect` is rule, input, recipe, code, software or artefact; `key` says which one of them."""

    aspect: str
    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.aspect in ("code", "input", "artefact"):
            return f"{self.aspect} {self.key}: {_state(self.before, self.after)}"
        return f"{self.aspect} {self.key}: {_shown(self.before)} -> {_shown(self.after)}"


def _shown(value: Any) -> str:
    return "(absent)" if value is ABSENT else json.dumps(value, ensure_ascii=False)


def _state(before: Any, after: Any) -> str:
    if before is ABSENT or after is ABSENT:
        return "new" if before is ABSENT else "gone"
    return f"changed ({before[:12]} -> {after[:12]})"


class _Absent:
    """Stands where one side has no value; null is a value."""


ABSENT = _Absent()


def record_of(job: Any) -> dict[str, Any] | None:
    """The record of a planned job, None when none of its outputs is there.

    Raises `RecordError` when outputs are there without a sound record.
    """
    file = Path(job.output.record)
    if not file.exists():
        there = [path for path in job.output if Path(path).exists()]
        if there:
            raise RecordError(
                f"{there[0]} is there without its record {file}: delete it, or run its rule {job.rule.name}"
            )
        return None
    return read_record(file)


def changes(job: Any, record: dict[str, Any]) -> list[Change]:
    """Everything that differs between `record` and the planned `job`, files rehashed; nothing when both agree."""
    recipe = _param(job, "recipe")
    code = code_digest(WORKFLOW / "scripts" / Path(job.rule.script).name, serving=asks_trained(recipe))
    now = {
        "rule": {"name": job.rule.name, **{name: str(value) for name, value in job.wildcards.items()}},
        "recipe": flat(recipe),
        "code": code.files,
        "software": _param(job, "software"),
        "input": {f"{name} {path}": _sha256(path) for name, path in named_files(job.input)},
        "artefact": {path: _sha256(path) for name, path in named_files(job.output) if name != "record"},
    }
    then = {
        "rule": {"name": record["rule"], **record["wildcards"]},
        "recipe": flat(record["recipe"]),
        "code": record["code"]["files"],
        "software": record["software"],
        "input": {f"{item['name']} {item['path']}": item["sha256"] for item in record["inputs"]},
        "artefact": {item["path"]: item["sha256"] for item in record["artefacts"]},
    }
    return [change for aspect in now for change in _compare(aspect, then[aspect], now[aspect])]


def _compare(aspect: str, then: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key, ABSENT), now.get(key, ABSENT)
        if before != after:
            yield Change(aspect, key, before, after)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; lists and plain values are leaves."""
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for name, item in value.items() for k, v in flat(item, f"{path}.{name}" if path else name).items()}


def named_files(files: Any) -> list[tuple[str, str]]:
    """(name, path) of a job's input or output, as its record lists them."""
    pairs = [(name, [item] if isinstance(item, str) else item) for name, item in files.items()]
    return [(name, str(path)) for name, paths in pairs for path in paths]


def _param(job: Any, name: str) -> Any:
    return json.loads(str(job.params[name]).removeprefix(f"{name} "))


def _sha256(path: str) -> Any:
    try:
        status = Path(path).stat()
    except OSError:
        return ABSENT
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    """Hash a file once for all jobs that read it."""
    return digest_file(path)
