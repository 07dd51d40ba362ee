"""Programmatic checks: whether an answer is what its prompt expects."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.expectations import Expectation, check_expectations
from stillhouse.evaluation.replies import storable
from stillhouse.evaluation.rows import ABOUT, Row, about, read_responses
from stillhouse.evaluation.sandbox import Outcome, run_python, run_trusted
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import write_parquet

CHECKS = pa.schema(
    [
        *ABOUT.items(),
        ("number", pa.int32()),
        ("kind", pa.string()),
        ("passed", pa.bool_()),
        ("detail", pa.string()),
    ]
)
DETAIL = 200  # characters of what is told about one check
MATCH_S = 2.0  # of CPU time for one regex or schema; a pattern can take longer than the world lasts
BATCH = 200  # of them in one process
BATCH_CHARACTERS = 4_000_000

# Python's regex engine looks for signals, so an alarm ends a pattern that would backtrack for years. It counts CPU
# time: a busy machine is no reason to stop.
_MATCHER = """
import json, re, signal

class Slow(Exception):
    pass

def stop(*_):
    raise Slow

def regex(pattern, text):
    return re.search(pattern, text) is not None, None

def json_schema(schema, text):
    from jsonschema import Draft202012Validator
    from referencing import Registry
    fault = next(Draft202012Validator(schema, registry=Registry()).iter_errors(json.loads(text)), None)
    return fault is None, fault and f"{fault.json_path}: {fault.message}"

signal.signal(signal.SIGPROF, stop)
for kind, value, text in json.load(open("data.json", encoding="utf-8")):
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        passed, detail = (regex if kind == "regex" else json_schema)(value, text)
    except Slow:
        passed, detail = None, f"stopped after {SECONDS:g} s of CPU time"
    except (Exception, RecursionError) as error:
        passed, detail = None, f"{type(error).__name__}: {error}"
    signal.setitimer(signal.ITIMER_PROF, 0)
    os.write(int(sys.argv[1]), json.dumps([passed, detail and detail[:400]]).encode() + b"\\n")
"""

_DIGITS = r"(?:\d{1,3}(?:[,'’\u00a0\u202f]\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+−]?\d{1,3}(?!\d))?|\.\d+"
_SIGN = r"(?<![\w.])[-+−]?"
_NUMBER = re.compile(
    rf"(?:(?P<mantissa>{_SIGN}(?:{_DIGITS}))\s*(?:×|x|\*|·|\\times|\\cdot)\s*|(?<![\w.]))"
    rf"10\s*(?:\^|\*\*)\s*[{{(]?\s*(?P<power>[-+−]?\d{{1,3}})(?!\d)|(?P<plain>{_SIGN}(?:{_DIGITS}))"
)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


@dataclass(frozen=True)
class Checked:
    """What came of one check: `passed` is None when it could not be run."""

    passed: bool | None
    detail: str | None = None


def run_checks(responses: list[Path], target: Path) -> dict[str, Any]:
    """Write one row an answer and expectation to `target`: passed, failed, or null when the check could not be run.

    Code from answers runs in a sandbox; patterns and schemas run under a time limit. Facts: numbers of checks, and of
    those passed, failed and not run. Raises `InputError` for a bad expectation, naming set, id and place.
    """
    asked = list(_asked(read_responses(responses)))
    held = _in_batches([(e.kind, e.value, _matched(e, row["answer"])) for row, _, e in asked if _is_held(e)])
    rows = [_row(row, number, e, _check(e, row["answer"], held)) for row, number, e in asked]
    write_parquet(target, rows, CHECKS)
    passed = [row["passed"] for row in rows]
    return {
        "checks": len(rows),
        "passed": passed.count(True),
        "failed": passed.count(False),
        "not_run": passed.count(None),
    }


def _asked(rows: list[Row]) -> Iterator[tuple[Row, int, Expectation]]:
    for row in rows:
        if expect := row["expect"]:
            place = f"set {row['set']}, prompt {row['id']}"
            for number, expectation in enumerate(_expectations(expect, place)):
                yield row, number, expectation


@lru_cache(maxsize=4096)
def _expectations(text: str, place: str) -> list[Expectation]:
    return check_expectations(json.loads(text), place)


def _row(row: Row, number: int, expectation: Expectation, checked: Checked) -> Row:
    detail = None if checked.detail is None else _plain(checked.detail)
    return {**about(row), "number": number, "kind": expectation.kind, "passed": checked.passed, "detail": detail}


def _plain(detail: str) -> str:
    """One printable line, without the addresses that differ from run to run."""
    text = "".join(c if c.isprintable() else " " for c in _ADDRESS.sub("0x...", storable(detail)))
    return " ".join(text.split())[:DETAIL]


Held = dict[str, Checked]
"""Results of patterns and schemas, by what was asked."""


def _check(expectation: Expectation, answer: str, held: Held) -> Checked:
    kind, value = expectation.kind, expectation.value
    if _is_held(expectation):
        text = _matched(expectation, answer)
        return held[_key(kind, value, text)] if text is not None else Checked(False, "the answer holds no JSON")
    if kind == "contains":
        return Checked(value.lower() in answer.lower())
    if kind == "excludes":
        return Checked(value.lower() not in answer.lower())
    if kind == "equals":
        return Checked(_folded(answer) == _folded(value))
    if kind == "number":
        return _number(last_number(answer), **value)
    if kind == "json":
        return Checked(True) if answer_json(answer) is not None else Checked(False, "the answer holds no JSON")
    return _code(answer_code(answer), value["tests"], value["timeout"])


def _folded(text: str) -> str:
    """A text with case and runs of whitespace taken out of account."""
    return " ".join(text.casefold().split())


def _number(found: float | None, value: float, tolerance: float) -> Checked:
    if found is None:
        return Checked(False, "no number in the answer")
    # beyond the tolerance only the rounding of floating point is forgiven
    return Checked(abs(found - value) <= tolerance + 1e-12 * abs(value), f"found {found:.12g}")


def last_number(answer: str) -> float | None:
    """The last number in a text: minus signs, thousands separators, 1.5e3 and 3 x 10^8; None when there is none."""
    found = list(_NUMBER.finditer(answer.replace("{,}", ",").replace("\\,", "")))
    if not found:
        return None
    last = found[-1]
    if last["power"]:
        return float(f"{_bare(last['mantissa'] or '1')}e{_bare(last['power'])}")
    return float(_bare(last["plain"]))


def _bare(number: str) -> str:
    return re.sub(r"[,'’\u00a0\u202f]", "", number.replace("−", "-"))


def _fenced(answer: str, names: tuple[str, ...]) -> str:
    """The first fenced block of one of these languages, else the first without any, else the whole answer."""
    blocks = [(found[2].lower(), found[3]) for found in _FENCE.finditer(answer)]
    for wanted in (names, ("",)):
        for language, text in blocks:
            if language in wanted:
                return text
    return answer


def answer_code(answer: str) -> str:
    """The Python of an answer."""
    return _fenced(answer, ("python", "py", "python3"))


def answer_json(answer: str) -> str | None:
    """The JSON of an answer in canonical form, None when it is none."""
    try:
        return canonical_json(json.loads(_fenced(answer, ("json",)), parse_constant=_refuse))
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@lru_cache(maxsize=1024)
def _code(answer: str, tests: str, seconds: float) -> Checked:
    outcome = run_python(answer, tests, seconds)
    if outcome.finished:
        return Checked(True)
    return Checked(None, outcome.cannot) if outcome.cannot is not None else Checked(False, _last_words(outcome))


def _last_words(outcome: Outcome) -> str:
    lines = [line for line in outcome.output.splitlines() if line.strip()]
    return outcome.fault or (lines[-1] if lines else "it ended before the tests did")


def _is_held(expectation: Expectation) -> bool:
    return expectation.kind in ("regex", "json_schema")


def _matched(expectation: Expectation, answer: str) -> str | None:
    return answer if expectation.kind == "regex" else answer_json(answer)


def _key(kind: str, value: Any, text: str) -> str:
    return canonical_json([kind, value, text])


def _in_batches(items: list[tuple[str, Any, str | None]]) -> Held:
    """What patterns and schemas say of texts, each asked once, many in one process."""
    waiting = list({_key(*item): item for item in items if item[2] is not None}.items())
    held: Held = {}
    while waiting:
        batch, characters = waiting[:BATCH], 0
        for place, (key, _) in enumerate(batch):
            characters += len(key)
            if place and characters > BATCH_CHARACTERS:
                batch = batch[:place]
                break
        told = _ask([item for _, item in batch])
        held.update(zip((key for key, _ in batch), told, strict=False))
        waiting = waiting[len(told) :]
    return held


def _ask(items: list[tuple[str, Any, str | None]]) -> list[Checked]:
    """One process's results; where it died over an item, that one could not be run, and the rest is asked again."""
    seconds = (MATCH_S + 0.1) * len(items) + 10
    paths = [path for path in sys.path if path and Path(path).exists()]
    outcome = run_trusted(f"SECONDS = {MATCH_S}\n{_MATCHER}", json.dumps(items), seconds, paths)
    told = [Checked(*json.loads(line)) for line in outcome.result.splitlines()]
    if len(told) < len(items):
        told.append(Checked(None, outcome.cannot or outcome.fault or f"the check ended: {_last_words(outcome)}"))
    return told
