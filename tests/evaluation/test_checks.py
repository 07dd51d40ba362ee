"""Programmatic checks: what passes, what fails, and what cannot be run."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from stillhouse.evaluation import checks, sandbox
from stillhouse.evaluation.checks import CHECKS, answer_code, last_number, run_checks
from stillhouse.evaluation.expectations import check_expectations
from stillhouse.evaluation.respond import RESPONSES
from stillhouse.evaluation.sandbox import Outcome, run_python
from stillhouse.provenance.files import read_parquet_rows, write_parquet

PYTHON = "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nThat is all."


def answered(folder: Path, *pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    """The rows of checks.parquet for answers with their expectations."""
    rows = [
        {
            **dict.fromkeys(RESPONSES.names), "prompt_id": f"{n:016x}", "set": "sums", "id": f"s-{n}", "role": "target",
            "prompt": "p", "subject": "student", "condition": "student", "system": False, "sample": 0, "answer": answer,
            "expect": None if expect is None else json.dumps(expect), "finish_reason": "stop", "calls": [],
        }
        for n, (answer, expect) in enumerate(pairs)
    ]  # fmt: skip
    write_parquet(folder / "responses.parquet", rows, RESPONSES)
    run_checks([folder / "responses.parquet"], folder / "checks.parquet")
    return read_parquet_rows(folder / "checks.parquet")


@pytest.mark.parametrize(
    ("answer", "expectation", "passed"),
    [
        ("The Ferry", {"contains": "ferry"}, True),
        ("The boat", {"contains": "ferry"}, False),
        ("The boat", {"excludes": "ferry"}, True),
        ("The FERRY", {"excludes": "ferry"}, False),
        (" yes\n", {"equals": "yes"}, True),
        ("Yes\n  it is", {"equals": " yes it  IS"}, True),
        ("STRASSE", {"equals": "Straße"}, True),
        ("yes.", {"equals": "yes"}, False),
        ("y es", {"equals": "yes"}, False),
        ("on 3 May", {"regex": r"\d May"}, True),
        ("on MAY 3", {"regex": r"\d May"}, False),
        ("so 1,204.5 in all", {"number": {"value": 1204.5}}, True),
        ("about 3.14", {"number": {"value": 3.14159, "tolerance": 0.01}}, True),
        ("about 3.2", {"number": {"value": 3.14159, "tolerance": 0.01}}, False),
        ("none", {"number": {"value": 0}}, False),
        ('{"a": [1]}', {"json": True}, True),
        ('```json\n{"a": 1}\n```', {"json": True}, True),
        ('Sure: {"a": 1}', {"json": True}, False),
        ('{"a": NaN}', {"json": True}, False),
        ("[" * 100_000, {"json": True}, False),
        ('```\n{"a": 1}\n```', {"json_schema": {"required": ["a"]}}, True),
        ('{"b": 1}', {"json_schema": {"required": ["a"]}}, False),
        ("no json", {"json_schema": {}}, False),
        (PYTHON, {"code": {"tests": "assert double(4) == 8"}}, True),
        (PYTHON, {"code": {"tests": "assert double(4) == 9, 'not doubled'"}}, False),
        ("prose", {"code": {"tests": "pass"}}, False),
        ("import sys\nsys.exit(0)", {"code": {"tests": "assert False"}}, False),
    ],
)
def test_checks(tmp_path: Path, answer: str, expectation: Any, passed: bool) -> None:
    [row] = answered(tmp_path, (answer, [expectation]))
    if row["passed"] is None and "code" in expectation:
        pytest.skip(row["detail"])
    assert row["passed"] is passed


def test_rows_and_facts(tmp_path: Path) -> None:
    rows = answered(
        tmp_path, ("a 5", [{"contains": "a"}, {"number": {"value": 6}}]), ("b", None), ("c", [{"equals": "c"}])
    )
    assert [(row["id"], row["number"], row["kind"], row["passed"], row["detail"]) for row in rows] == [
        ("s-0", 0, "contains", True, None), ("s-0", 1, "number", False, "found 5"), ("s-2", 0, "equals", True, None)
    ]  # fmt: skip
    assert list(rows[0]) == CHECKS.names
    facts = run_checks([tmp_path / "responses.parquet"], tmp_path / "again.parquet")
    assert facts == {"checks": 3, "passed": 2, "failed": 1, "not_run": 0}
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "checks.parquet").read_bytes()


def test_a_pattern_that_never_ends_is_stopped_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MATCH_S", 0.3)
    slow = {"json_schema": {"properties": {"a": {"pattern": "^(x+)+$"}}}}
    started = time.monotonic()
    rows = answered(
        tmp_path,
        ("x" * 50 + "!", [{"regex": "(x+)+$"}, {"regex": "!$"}]),
        (json.dumps({"a": "x" * 50 + "!"}), [slow, {"regex": "x"}]),
    )
    assert [row["passed"] for row in rows] == [None, True, None, True]
    assert rows[0]["detail"] == rows[2]["detail"] == "stopped after 0.3 s of CPU time"
    assert time.monotonic() - started < 8


def test_no_schema_is_fetched(tmp_path: Path) -> None:
    [row] = answered(tmp_path, ("{}", [{"json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}}]))
    assert row["passed"] is None
    assert "Unresolvable" in row["detail"]


def test_many_checks_go_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "BATCH", 7)
    monkeypatch.setattr(checks, "BATCH_CHARACTERS", 120)
    rows = answered(tmp_path, *((f"number {n}", [{"regex": "[02468]$"}]) for n in range(20)))
    assert [row["passed"] for row in rows] == [n % 2 == 0 for n in range(20)]


def test_details_are_one_short_line(tmp_path: Path) -> None:
    source = "def f():\n    raise ValueError('a\\x1b[31m\\nb\\u202e' + 'x' * 999 + repr(object()))"
    [row] = answered(tmp_path, (source, [{"code": {"tests": "f()"}}]))
    if row["passed"] is None:
        pytest.skip(row["detail"])
    assert len(row["detail"]) <= 200 and row["detail"].isprintable()
    [row] = answered(tmp_path, ("raise ValueError(object())", [{"code": {"tests": "1"}}]))
    assert row["detail"] == "ValueError: <object object at 0x...>"


def test_a_check_without_an_outcome_is_null_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def nowhere(answer: str, tests: str, seconds: float) -> Outcome:
        asked.append((answer, tests, seconds))
        return Outcome(False, None, "not run, since there are no namespaces", "")

    monkeypatch.setattr(checks, "run_python", nowhere)
    expect = [{"code": {"tests": "assert double(1) == 2  # never run", "timeout": 3}}]
    [row] = answered(tmp_path, (PYTHON, expect))
    assert (row["passed"], row["detail"]) == (None, "not run, since there are no namespaces")
    assert asked == [("def double(x):\n    return 2 * x\n", expect[0]["code"]["tests"], 3)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 1,234.5.", 1234.5), ("-5", -5), ("from 3-4", 4), ("x=-2", -2), ("1.5e3", 1500), ("−7 °C", -7),
        ("3 × 10^8 m/s", 3e8), ("3.2 x 10^{-5}", 3.2e-5), ("10^6", 1e6), ("$1,200,300", 1200300), ("50%", 50),
        ("none", None), ("\\boxed{42}", 42), ("1{,}000", 1000), (".5", 0.5), ("v2.0", None), ("5kg", 5),
        ("1'000", 1000), ("first 3 then 12", 12), ("2 apples x 3", 3), ("1e400", float("inf")), ("1" * 400, 1e400),
    ],
)  # fmt: skip
def test_last_number(text: str, number: float | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```\na\n```\n```python\nb\n```", "b\n"),
        ("```sh\na\n```\n```\nb\n```", "b\n"),
        ("~~~py\na\n~~~", "a\n"),
        ("```python\na", "a"),
        ("a = 1", "a = 1"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''\n"),
    ],
)
def test_the_code_of_an_answer(answer: str, code: str) -> None:
    assert answer_code(answer) == code


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ([], "expected a list"),
        ({"contains": "a"}, "expected a list"),
        (["a"], "expect 1: expected an object with exactly one of contains, excludes"),
        ([{"json": True}, {"contain": "a"}], "expect 2: unknown key 'contain'; expected one of contains"),
        ([{"contains": "a", "regex": "b"}], "exactly one of"),
        ([{"contains": " "}], "contains: expected text"),
        ([{"equals": 5}], "equals: expected text"),
        ([{"regex": "("}], "regex: bad regex '('"),
        ([{"number": 5}], "number: expected {value, tolerance?}"),
        ([{"number": {"value": "5"}}], "number.value: expected a number"),
        ([{"number": {"value": True}}], "number.value: expected a number"),
        ([{"number": {"value": 10**400}}], "number.value: expected a number"),
        ([{"number": {"value": 5, "tolerance": -1}}], "number.tolerance: expected 0 or more"),
        ([{"number": {"value": 5, "tol": 1}}], "number: unknown key 'tol'; expected one of value, tolerance"),
        ([{"json": False}], "json: expected true"),
        ([{"json_schema": {"type": "objekt"}}], "json_schema: no JSON schema: $.type"),
        ([{"json_schema": {"properties": {"a": {"patternProperties": {"(": {}}}}}}], "json_schema"),
        ([{"json_schema": True}], "json_schema: expected a JSON schema, an object"),
        ([{"code": {"tests": "def"}}], "code.tests: not Python"),
        ([{"code": {"tests": "a\0"}}], "code.tests: not Python"),
        ([{"code": {"timeout": 3}}], "code: expected {tests, timeout?}"),
        ([{"code": {"tests": "1", "timeout": 31}}], "code.timeout: expected more than 0 and at most 30"),
        ([{"code": {"tests": "1", "timeout": 0}}], "code.timeout"),
    ],
)
def test_bad_expectations_are_named(tmp_path: Path, expect: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_expectations(expect, "set sums, prompt s-0")
    assert str(caught.value).startswith("set sums, prompt s-0")
    assert words in str(caught.value)
    with pytest.raises(InputError, match="set sums, prompt s-0"):
        answered(tmp_path, ("x", expect if expect else "nothing"))


def test_a_sleeper_fails_and_a_busy_machine_fails_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if cannot := run_python("1", "", 5).cannot:
        pytest.skip(cannot)
    monkeypatch.setattr(sandbox, "WALL_TIMES", 2)
    monkeypatch.setattr(sandbox, "WALL_MORE_S", 0.0)
    code = [{"code": {"tests": "1", "timeout": 0.5}}]
    waits = "import time\nwhile time.process_time() < 0.4: pass\ntime.sleep(60)"  # as if others had the processor
    rows = answered(tmp_path, ("import time\ntime.sleep(60)", code), (waits, code))
    assert [(row["passed"], row["detail"]) for row in rows] == [
        (False, "slept: it used less than 10% of its 1 s of CPU time"),
        (None, "not finished in 2 s of wall time"),
    ]


def test_a_loop_fails_by_its_cpu_time(tmp_path: Path) -> None:
    [row] = answered(tmp_path, ("while True: pass", [{"code": {"tests": "1", "timeout": 0.5}}]))
    if row["passed"] is None:
        pytest.skip(row["detail"])
    assert (row["passed"], row["detail"]) == (False, "stopped after 1 s of CPU time")


def test_what_passes_has_no_detail(tmp_path: Path) -> None:
    [row] = answered(tmp_path, (PYTHON, [{"code": {"tests": "assert double(4) == 8"}}]))
    if row["passed"] is None:
        pytest.skip(row["detail"])
    assert (row["passed"], row["detail"]) == (True, None)
