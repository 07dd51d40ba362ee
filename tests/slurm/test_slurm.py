"""A shrunken study through the Slurm executor plugin and profiles/slurm, on a Slurm of this one machine."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORKFLOW = Path(__file__).parents[2]
STUDY = WORKFLOW / "tests/slurm/study.yaml"
LIMIT_SERVER = WORKFLOW / "tests/llm/limit_server.py"
ONE_NODE = Path(__file__).with_name("one_node.sh")
CANNOT = 77  # exit status of one_node.sh where Slurm cannot run

# What a machine without accounting needs, and shorter waits than a cluster's.
HERE = ["--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-keep-successful-logs", "--jobs", "4"]
HERE += ["--slurm-init-seconds-before-status-checks", "8", "--latency-wait", "10"]

LIMITED = """
study: limited
models:
  api.v1-x:
    backend: openai
    base_url: http://127.0.0.1:PORT/v1
    model: m
    limits: {concurrency: 5}
prompts:
  p: {file: p.jsonl}
generations:
  g: {prompts: p, model: api.v1-x, shards: 3, sampling: {max_tokens: 20}}
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A running Slurm; one that was there before stays."""
    was_up = subprocess.run([ONE_NODE, "status"], capture_output=True, check=False).returncode == 0
    started = subprocess.run([ONE_NODE, "start"], capture_output=True, text=True, check=False, timeout=120)
    if started.returncode == CANNOT:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    yield
    if not was_up:
        subprocess.run([ONE_NODE, "stop"], check=True, timeout=120)


def start(folder: Path, *arguments: str, study: Path = STUDY) -> subprocess.Popen:
    """Start Snakemake on the shrunken study with profiles/slurm; both output streams in stdout."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile")]
    command += ["--workflow-profile", str(WORKFLOW / "profiles/slurm"), "--directory", str(folder)]
    command += ["--configfile", str(study), *HERE, *arguments]
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **streams)


def snakemake(folder: Path, *arguments: str, study: Path = STUDY) -> str:
    """Run Snakemake; what it said, once it has ended well."""
    process = start(folder, *arguments, study=study)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-6000:]
    return output


@pytest.fixture(scope="module")
def ran(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of the study built under Slurm, and what Snakemake said."""
    folder = tmp_path_factory.mktemp("slurm")
    yield folder, snakemake(folder)
    shutil.rmtree(folder)  # half a gigabyte that no other file of tests reads


def test_every_job_was_submitted_to_slurm(ran: tuple[Path, str]) -> None:
    _, output = ran
    submitted = re.findall(r"^Job (\d+) has been submitted with SLURM jobid (\d+)", output, re.MULTILINE)
    planned = int(re.search(r"^total +(\d+)$", output, re.MULTILINE)[1])
    assert len(submitted) == planned - 1 > 10, output[-6000:]  # all but the target rule


def test_slurm_itself_says_that_they_completed(ran: tuple[Path, str]) -> None:
    folder, output = ran
    ours = set(re.findall(r"submitted with SLURM jobid (\d+)", output))
    listed = subprocess.run(
        ["squeue", "--states=all", "--noheader", "--format=%i %T %Z"], capture_output=True, text=True, check=True
    )
    states = {line.split()[0]: line.split()[1:] for line in listed.stdout.splitlines()}
    # %Z is the working directory that Slurm gave the job
    assert {number: states.get(number) for number in ours} == {number: ["COMPLETED", str(folder)] for number in ours}


def test_the_study_is_complete(ran: tuple[Path, str]) -> None:
    folder, _ = ran
    results = folder / "results"
    for made in ("evaluations/framework/report.html", "adapters/plans/record.json", "datasets/plans/train.parquet"):
        assert (results / made).stat().st_size > 0
    assert list((results / "ledger").glob("*.jsonl"))


def test_a_second_plan_has_nothing_to_do(ran: tuple[Path, str]) -> None:
    folder, _ = ran
    assert "Nothing to be done" in snakemake(folder, "--dry-run")


def running_in(folder: Path) -> list[str]:
    """Numbers of the jobs that Slurm runs in a folder."""
    listed = subprocess.run(
        ["squeue", "--states=RUNNING", "--noheader", "--format=%i %Z"], capture_output=True, text=True, check=True
    )
    return [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1] == str(folder)]


def test_a_job_cancelled_on_the_cluster_is_planned_again(ran: tuple[Path, str]) -> None:
    """The report is older but complete: without the hook, Snakemake would find nothing to do over stale results."""
    folder, _ = ran
    study = folder / "changed.yaml"
    study.write_text(STUDY.read_text().replace("max_steps: 1", "max_steps: 2"))
    process = start(folder, study=study)
    for _ in range(600):
        if jobs := running_in(folder):
            break
        time.sleep(0.1)
    subprocess.run(["scancel", *jobs], check=True)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    plan = snakemake(folder, "--dry-run", study=study)
    assert re.search(r"^train_adapter +1$", plan, re.MULTILINE), output[-3000:] + plan[-3000:]
    assert re.search(r"^write_report +1$", plan, re.MULTILINE)


def test_shards_on_the_cluster_stay_within_a_models_limit_together(slurm: None, tmp_path: Path) -> None:
    """By the server's own count: each job is a Snakemake of its own, and knows its slots by what it was started with."""
    folder, report = tmp_path, tmp_path / "seen.jsonl"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(LIMIT_SERVER), str(port), "0.5", str(report)])
    try:
        study = folder / "study.yaml"
        study.write_text(LIMITED.replace("PORT", str(port)))
        lines = [json.dumps({"prompt": f"What of number {n}?"}) + "\n" for n in range(40)]
        (folder / "p.jsonl").write_text("".join(lines))
        snakemake(folder, "--jobs", "3", "results/generations/g/answers.parquet", study=study)
    finally:
        server.terminate()
        server.wait(20)
    seen = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(seen) == 40
    assert max(item["now"] for item in seen) <= 5
    logs = [(folder / f"logs/answer_shard/g/{shard}.log").read_text() for shard in range(3)]
    assert sorted(int(re.search(r"api\.v1-x: (\d) of 5 slots", log)[1]) for log in logs) == [1, 2, 2]
