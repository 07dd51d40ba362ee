"""Limits hold for a whole run of Snakemake, by the server's own count: several shards, two generations, judges beside them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from limit_server import LimitServer, error

pytestmark = pytest.mark.slow

WORKFLOW = Path(__file__).parents[2]
PROMPTS = 60
LIMIT = 6
NAME = "api.v1-x_y"


def write_study(folder: Path, url: str, **limits: Any) -> None:
    """Two generations, and an evaluation whose subject and judges ask the same model."""
    model = {"backend": "openai", "base_url": url, "model": "m", "limits": {"concurrency": LIMIT, **limits}}
    study = {
        "study": "limits",
        "models": {NAME: model},
        "prompts": {"p": {"file": "p.jsonl"}},
        "generations": {
            "one": {"prompts": "p", "model": NAME, "shards": 3, "sampling": {"max_tokens": 20}},
            "two": {"prompts": "p", "model": NAME, "shards": 2, "sampling": {"max_tokens": 21}},
        },
        "evaluations": {
            "e": {
                "prompts": {"held": "held.jsonl"},
                "subjects": {"a": {"model": NAME}, "b": {"model": NAME, "system": "system.md"}},
                "pairwise": {"pairs": [["a", "b"]], "judges": [NAME]},
            }
        },
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    (folder / "system.md").write_text("Be brief.")
    for name, count in (("p", PROMPTS), ("held", 12)):
        lines = [json.dumps({"prompt": f"What of {name} {n}?"}) + "\n" for n in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(lines))


def words(body: dict[str, Any]) -> str:
    prompt = body["messages"][-1]["content"]
    return "VERDICT: 1" if "VERDICT" in prompt else f"Answer to {prompt[:40]}"


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), *arguments]
    command += ["--cores", "4", "--configfile", "study.yaml"]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams)


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-4000:]
    return output


def rows(folder: Path, generation: str) -> int:
    return pq.read_table(folder / f"results/generations/{generation}/answers.parquet").num_rows


def test_no_more_requests_than_the_limit_are_in_flight_whatever_runs_at_once(tmp_path: Path) -> None:
    with LimitServer(latency=lambda now: 0.4, words=words).running() as server:
        write_study(tmp_path, server.url)
        finish(start(tmp_path))
        assert (rows(tmp_path, "one"), rows(tmp_path, "two")) == (PROMPTS, PROMPTS)
        assert LIMIT / 2 < server.most["m"] <= LIMIT
        asked = len(server.seen)
        assert "Nothing to be done" in finish(start(tmp_path))
        assert len(server.seen) == asked


def test_a_smaller_number_on_the_command_line_wins(tmp_path: Path) -> None:
    with LimitServer(latency=lambda now: 0.2, words=words).running() as server:
        write_study(tmp_path, server.url)
        finish(start(tmp_path, "generations", "--resources", "slots_api_2ev1_2dx_5fy=2"))
        assert server.most["m"] <= 2
        assert rows(tmp_path, "one") == PROMPTS


def test_killed_at_random_and_started_again_the_limits_hold_and_little_is_asked_twice(tmp_path: Path) -> None:
    """Every fifth request is refused or fails, and the rate is bounded too."""
    dice = random.Random(7)

    def fault(_: Any) -> tuple[int, dict[str, str], bytes] | None:
        kind = dice.choice(["429", "500", *["fine"] * 8])
        return None if kind == "fine" else (int(kind), {"Retry-After": "0.2"}, error("not now"))

    with LimitServer(latency=lambda now: 0.3, words=words, fault=fault).running() as server:
        write_study(tmp_path, server.url, requests_per_minute=240)
        kills, done = 0, False
        while not done and kills < 4:
            process, seen = start(tmp_path, "generations"), len(server.seen)
            until = seen + dice.randint(1, 25)
            while process.poll() is None and len(server.seen) < until:
                time.sleep(0.05)
            done = process.poll() is not None
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += not done
            finish(start(tmp_path, "--unlock"))
        finish(start(tmp_path, "generations"))
        assert kills
        assert (rows(tmp_path, "one"), rows(tmp_path, "two")) == (PROMPTS, PROMPTS)
        assert server.most["m"] <= LIMIT
        # 60 by the limit; a machine that stalls sees some arrive late and together
        assert server.per_window("m", 15) <= 100
        asked: dict[str, int] = {}
        for item in server.seen:
            key = json.dumps(item.body, sort_keys=True)
            asked[key] = asked.get(key, 0) + 1
        assert len([key for key in asked if "ping" not in key]) == 2 * PROMPTS
