"""After a failed, killed or cancelled job the same command does the right thing, for every rule."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from house import House

pytestmark = pytest.mark.slow

# In the copy of the workflow only: the scripts of some rules die as the kernel kills what takes too much memory.
# provenance/job.py is outside every code digest, so nothing is planned because of it.
DEADLY = """
    if snakemake.rule in os.environ.get("STILLHOUSE_TEST_KILLS", "").split():
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
    "score_answers",
)


def make_deadly(house: House) -> None:
    """Let the jobs of the rules in STILLHOUSE_TEST_KILLS be killed when they start to work."""
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


def ancestors(records: dict[str, dict]) -> dict[str, set[str]]:
    """For each rule the rules that any of its jobs waits for, directly or not."""
    makers = {item["path"]: record["rule"] for record in records.values() for item in record["artefacts"]}
    direct: dict[str, set[str]] = {rule: set() for rule in RULES}
    for record in records.values():
        direct[record["rule"]] |= {makers[item["path"]] for item in record["inputs"] if item["path"] in makers}
    found: dict[str, set[str]] = {}

    def of(rule: str) -> set[str]:
        if rule not in found:
            found[rule] = direct[rule].union(*map(of, direct[rule]))
        return found[rule]

    for rule in RULES:
        of(rule)
    return found


def in_groups(touched: dict[str, set[str]], before: dict[str, set[str]]) -> list[list[str]]:
    """The rules in few groups: in one run of a group no rule waits for what another one's change touches."""

    def apart(one: str, other: str) -> bool:
        return not touched[one] & (before[other] | {other}) and not touched[other] & (before[one] | {one})

    groups: list[list[str]] = []
    for rule in RULES:
        group = next((group for group in groups if all(apart(rule, other) for other in group)), None)
        if group is None:
            groups.append([rule])
        else:
            group.append(rule)
    return groups


def kill(house: House, group: list[str], *targets: str) -> list[str]:
    """Let all rules of a group be killed in one run; which of them were not, or are not planned then."""
    make_deadly(house)
    house.environment["STILLHOUSE_TEST_KILLS"] = " ".join(group)
    text = house.run("--keep-going", *targets, fails=True).text
    planned = house.planned(*targets)
    return [rule for rule in group if f"Error in rule {rule}:" not in text or rule not in planned]


def chosen_inputs(built: House) -> tuple[dict[str, str], dict[str, set[str]]]:
    """For each rule an input of one of its jobs that nothing before it reads, and all rules that do read it.

    Models' weights are left out: they are `ancient`, their digests stand for them.
    """
    records = built.records()
    readers: dict[str, set[str]] = {}
    for record in records.values():
        for item in record["inputs"]:
            readers.setdefault(item["path"], set()).add(record["rule"])
    before, inputs = ancestors(records), {}
    for rule in RULES:
        usual = [item for item in an_output(built, rule)["inputs"] if item["name"] not in ("weights", "base", "gguf")]
        inputs[rule] = next(item["path"] for item in usual if not readers[item["path"]] & before[rule])
    return inputs, {rule: readers[path] for rule, path in inputs.items()}


def test_jobs_killed_after_their_code_changed_are_planned_again(built: House, tmp_path: Path) -> None:
    shared = {"collect_prompts", "collect_evaluation_prompts"}  # one script
    touched = {rule: shared if rule in shared else {rule} for rule in RULES}

    def change_and_kill(house: House, group: list[str]) -> list[str]:
        for script in {script_of(house, rule) for rule in group}:
            script.write_text(script.read_text() + "\nif __debug__:\n    _changed = len(__name__)\n")
        return kill(house, group)

    groups = in_groups(touched, ancestors(built.records()))
    assert survivors(built, tmp_path, change_and_kill, groups) == []


def test_jobs_killed_after_an_input_changed_are_planned_again(built: House, tmp_path: Path) -> None:
    inputs, touched = chosen_inputs(built)

    def change_and_kill(house: House, group: list[str]) -> list[str]:
        for name in {inputs[rule] for rule in group}:
            (house.study / name).write_bytes((house.study / name).read_bytes() + b"\n")
        return kill(house, group, *(an_output(house, rule)["artefacts"][0]["path"] for rule in group))

    assert survivors(built, tmp_path, change_and_kill, in_groups(touched, ancestors(built.records()))) == []


def survivors(
    built: House, folder: Path, case: Callable[[House, list[str]], list[str]], groups: list[list[str]]
) -> list[str]:
    """What `case` says of each group, each in a copy of its own; two beside each other, since they mostly wait."""
    assert sorted(rule for group in groups for rule in group) == sorted(RULES) and len(groups) < len(RULES)

    def try_group(number: int) -> list[str]:
        copy = built.copy(folder / str(number))
        found = case(copy, groups[number])
        shutil.rmtree(copy.folder)
        return found

    with ThreadPoolExecutor(2) as pool:
        return [rule for found in pool.map(try_group, range(len(groups))) for rule in found]


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
