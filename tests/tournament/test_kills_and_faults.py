"""A generation over HTTP in a process of its own: killed at random moments, and at a server that has a bad day."""

import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.llm.ledger import Ledger
from stillhouse.provenance.files import read_parquet_rows

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "benchmarks/latency_server.py"
KILLS = 20
CONCURRENCY = 8

JOB = """
import json, sys
sys.path[:0] = [{scripts!r}, {benchmarks!r}]
import tournament
print("begun", flush=True)
print(json.dumps(tournament.job({url!r}, {prompts}, {concurrency}, **{model!r})), flush=True)
"""


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def start(*arguments: str) -> str:
        servers.append(subprocess.Popen([sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True))
        return servers[-1].stdout.readline().strip()

    yield start
    for server in servers:
        server.kill()
        server.wait()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.replace("/v1", "/stats")) as answer:
        return json.load(answer)


def start(folder: Path, url: str, prompts: int, **model: Any) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    code = JOB.format(
        scripts=str(ROOT / "scripts"), benchmarks=str(ROOT / "benchmarks"), url=url, prompts=prompts,
        concurrency=CONCURRENCY, model=model,
    )  # fmt: skip
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing_but_what_is_in_flight(
    tmp_path: Path, serve: Callable[..., str], record_property: Callable
) -> None:
    url, prompts = serve("--latency", "0.02"), 60
    whole = finish(start(tmp_path / "whole", url, prompts))
    before, draw = stats(url)["requests"], random.Random(20)
    assert before == whole["made"] == prompts * 13
    kills = 0
    while kills < KILLS:
        process = start(tmp_path / "killed", url, prompts)
        assert process.stdout.readline() == "begun\n"
        asked = stats(url)["requests"]
        wanted = asked + draw.randint(1, prompts * 13 // KILLS)  # a moment by its number of calls, not by the clock
        while process.poll() is None and stats(url)["requests"] < wanted:
            time.sleep(draw.random() / 100)
        process.kill()
        process.communicate()
        kills += 1
    finish(start(tmp_path / "killed", url, prompts))
    made = stats(url)["requests"] - before
    record_property("calls", {"uninterrupted": before, "with kills": made, "kills": kills})
    assert before <= made <= before + CONCURRENCY * KILLS
    assert (tmp_path / "killed/shard.parquet").read_bytes() == (tmp_path / "whole/shard.parquet").read_bytes()


@pytest.mark.slow
def test_a_bad_day_of_the_server_loses_no_prompt_and_doubles_none(tmp_path: Path, serve: Callable[..., str]) -> None:
    url, prompts = serve("--latency", "0.02", "--faults", "7"), 60
    found = finish(start(tmp_path / "bad", url, prompts, max_tries=12))
    rows, seen = read_parquet_rows(tmp_path / "bad/shard.parquet"), stats(url)
    assert len({row["prompt_id"] for row in rows}) == len(rows) == prompts
    assert all((row["stage"] is None) == bool(row["answer"]) for row in rows)
    assert found["answered"] == sum(row["stage"] is None for row in rows) == prompts
    ledger = Ledger(tmp_path / "bad/results/ledger")
    assert len(ledger) == found["made"] == seen["answered"]
    assert seen["doubled"] == 0
    assert all(digest in ledger for row in rows for digest in row["calls"])
    assert seen["in_flight"] <= CONCURRENCY
    assert seen["requests"] > 1.25 * found["made"]


@pytest.mark.slow
def test_prompts_that_fail_for_good_are_failures_and_the_others_answers(
    tmp_path: Path, serve: Callable[..., str]
) -> None:
    url, prompts = serve("--latency", "0.01", "--faults", "3"), 60
    found = finish(start(tmp_path / "bad", url, prompts, max_tries=1))
    rows = read_parquet_rows(tmp_path / "bad/shard.parquet")
    failed = [row for row in rows if row["stage"] is not None]
    assert len({row["prompt_id"] for row in rows}) == len(rows) == prompts
    assert len(failed) == prompts - found["answered"] > 0
    assert all(row["reason"] and row["answer"] is None for row in failed)


@pytest.mark.slow
def test_requests_a_minute_are_kept_on_a_bad_day_too(tmp_path: Path, serve: Callable[..., str]) -> None:
    url, per_minute = serve("--latency", "0.01", "--faults", "5"), 1200
    finish(start(tmp_path / "paced", url, 6, max_tries=12, limits={"requests_per_minute": per_minute}))
    arrivals = stats(url)["arrivals"]
    window = 2.0  # seconds; evenly spaced starts hold in any window, a slow machine only spreads them
    for begun in arrivals:
        assert sum(begun <= at < begun + window for at in arrivals) <= per_minute / 60 * window + CONCURRENCY
