"""After a failed, killed or cancelled job the same command does the right thing, for every rule."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from house import House

pytestmark = pytest.mark.slow

# In the copy of the workflow only: the script of one rule dies as the kernel kills what takes too much memory.
# provenance/job.py is outside every code digest, so nothing is planned because of it.
DEADLY = """
    if os.environ.get("STILLHOUSE_TEST_KILLS") == snakemake.rule:
        os.kill(os.getpid(), 9)
"""

RULES = (
    "prepare_gguf",
    "prepare_weights",
    "collect_prompts",
    "collect_evaluation_prompts",
    "answer_shard",
    "merge_generation",
    "check_drafts",
    "report_generation",
    "cost_generation",
    "build_dataset",
    "write_dataset_card",
    "train_adapter",
    "merge_adapter",
    "convert_gguf",
    "convert_adapter_gguf",
    "quantize_gguf",
    "write_modelfile",
    "write_model_card",
    "answer_subject",
    "score_markers",
    "find_breaks",
    "run_checks",
    "judge_rubric",
    "judge_pairwise",
    "summarise_evaluation",
    "write_report",
    "validate_evaluation",
    "write_history",
    "expand_prompts",
    "collect_answers",
    "convert_dataset",
    "preflight_adapter",
    "measure_fidelity",
)


def make_deadly(house: House) -> None:
    """Let the job named in STILLHOUSE_TEST_KILLS be killed when it starts to work."""
    file = house.workflow / "scripts/stillhouse/provenance/job.py"
    place = "    set_up_logging("
    assert file.read_text().count(place) == 1
    file.write_text(file.read_text().replace(place, DEADLY.lstrip("\n") + place))


def an_output(house: House, rule: str) -> dict:
    """The record of one job of a rule."""
    return next(record for _, record in sorted(house.records().items()) if record["rule"] == rule)


def script_of(house: House, rule: str) -> Path:
    name = "collect_prompts" if rule == "collect_evaluation_prompts" else rule
    return house.workflow / f"scripts/{name}.py"


def test_every_rule_is_tried(built: House) -> None:
    assert {record["rule"] for record in built.records().values()} == set(RULES)


def kill_after_a_changed_param(house: House, rule: str) -> None:
    make_deadly(house)
    script = script_of(house, rule)
    script.write_text(script.read_text() + "\nif __debug__:\n    _changed = len(__name__)\n")
    house.environment["STILLHOUSE_TEST_KILLS"] = rule
    house.run(fails=True)
    assert rule in house.planned()


def kill_after_a_changed_input(house: House, rule: str) -> None:
    make_deadly(house)
    record = an_output(house, rule)
    # models' weights are `ancient`: their digests stand for them
    name = next(item["path"] for item in record["inputs"] if item["name"] not in ("weights", "base", "gguf"))
    file = house.study / name
    file.write_bytes(file.read_bytes() + b"\n")
    house.environment["STILLHOUSE_TEST_KILLS"] = rule
    house.run(record["artefacts"][0]["path"], fails=True)
    assert rule in house.planned(record["artefacts"][0]["path"])


@pytest.mark.parametrize("rule", RULES)
def test_a_killed_job_is_planned_again(built: House, tmp_path: Path, rule: str) -> None:
    """After a changed param and after a changed input, the two beside each other: they mostly wait for Python to start."""
    with ThreadPoolExecutor(2) as pool:
        cases = (kill_after_a_changed_param, kill_after_a_changed_input)
        for done in [pool.submit(case, built.copy(tmp_path / case.__name__), rule) for case in cases]:
            done.result()


def test_the_same_command_then_finishes(house: House, built: House) -> None:
    """A failed job in the middle, its consumers complete but older: all of them are made anew."""
    make_deadly(house)
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    house.environment["STILLHOUSE_TEST_KILLS"] = "convert_gguf"
    house.run(fails=True)
    house.environment.clear()
    run = house.run()
    assert "convert_gguf mixed" in run.ran and "train_adapter mixed" not in run.ran
    assert "answer_subject held,packed" in run.ran and "write_report held" in run.ran
    key = json.loads((house.study / "results/exports/mixed/mixed-f16.gguf.record.json").read_text())["key"]
    assert key != json.loads((built.study / "results/exports/mixed/mixed-f16.gguf.record.json").read_text())["key"]
    assert house.planned() == set()


def start(house: House, *arguments: str) -> subprocess.Popen:
    """Start Snakemake in a process group of its own."""
    return subprocess.Popen(
        house.command(*arguments),
        cwd=house.study,
        env=house.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
    )


def test_cancelled_by_the_user(house: House) -> None:
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    log = house.study / "logs/train_adapter/mixed.log"
    log.unlink()
    process = start(house)
    while not log.exists():  # the training has begun
        assert process.poll() is None
        time.sleep(0.05)
    while process.poll() is None:  # one Ctrl-C can meet Python at an import that swallows it
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
    assert process.returncode != 0
    assert "train_adapter" in house.planned() and "write_report" in house.planned()
    house.run()
    assert house.planned() == set()


def test_killed_at_random_moments_and_resumed(unbuilt: House, built: House, tmp_path: Path) -> None:
    """The whole study, killed again and again from its first second on, ends in the same bytes."""
    house = unbuilt.copy(tmp_path / "killed")
    asked = len(house.server.requests)
    luck, kills = random.Random(20261121), 0
    while kills < 7:
        process = start(house)
        try:
            process.wait(luck.uniform(2.0, 14.0))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            wait_for_silence(house)
            unlocked = house.snakemake("--unlock")
            assert unlocked.returncode == 0, unlocked.stdout
    assert kills >= 3
    resumed = house.script("resume.py", *house.command()[3:])
    assert resumed.returncode == 0, resumed.stdout[-4000:]
    assert house.planned() == set()
    assert house.artefacts() == built.artefacts()
    calls = {json.dumps(request, sort_keys=True) for request in house.server.requests[asked:]}
    # what was in flight at a kill is asked again: at most the concurrency of the two jobs that ran
    assert len(house.server.requests) - asked <= len(calls) + kills * 16


def wait_for_silence(house: House) -> None:
    """Wait until no process of a killed run works in the study's folder."""
    until = time.monotonic() + 60
    while working_in(house.study) and time.monotonic() < until:
        time.sleep(0.1)


def working_in(folder: Path) -> list[int]:
    """Processes whose working directory is `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_no_half_written_artefact_stays(house: House) -> None:
    """A job that is killed while it writes leaves nothing under an artefact's name."""
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    process = start(house, "results/exports/mixed/mixed-Q8_0.gguf")
    time.sleep(9)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    records = house.records()
    for file in (house.study / "results").rglob("*"):
        relative = file.relative_to(house.study).as_posix()
        inside = file.is_file() and relative.split("/")[1] not in (".store", "ledger")
        if inside and not file.name.startswith(".") and not file.name.endswith("record.json"):
            for record in records.values():
                for item in record["artefacts"]:
                    assert item["path"] != relative or item["size"] == file.stat().st_size


def test_resume_takes_the_lock_of_a_dead_run_away(house: House) -> None:
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    process = start(house)
    time.sleep(4)
    alive = house.script("resume.py", *house.command()[3:])
    assert alive.returncode == 1 and "still works in this folder" in alive.stdout
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert house.snakemake().returncode != 0  # Snakemake itself refuses: the lock is still there
    wait_for_silence(house)
    resumed = house.script("resume.py", *house.command()[3:])
    assert resumed.returncode == 0, resumed.stdout[-3000:]
    assert house.planned() == set()


def test_a_second_run_at_the_same_time_is_refused(house: House) -> None:
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    first = start(house)
    time.sleep(4)
    second = house.snakemake()
    assert second.returncode != 0 and "cannot be locked" in second.stdout
    assert first.wait(200) == 0
    assert house.planned() == set()
