"""Trainings that are killed for real go on where they were and end in the same bytes."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from paused_training import run
from tiny_training import metrics_of, preference_row, sft_row, write_dataset

from stillhouse.errors import TrainingError
from stillhouse.provenance.digests import digest_file
from stillhouse.training.checkpoints import Checkpoint, Checkpoints
from stillhouse.training.precision import choose_precision
from stillhouse.training.settings import TrainSettings
from stillhouse.training.train import train_adapter

BASE = Path("results/models/tiny")
KEY = "a" * 64

# a server that has imported everything: each process is real, and starts in no time
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["paused_training"])

CASES = {
    "sft": {"lora": {"dropout": 0.1}},
    "sft-8bit": {"lora": {"rank": 64}, "training": {"optimizer": "adamw_8bit"}},
    "sft-packed": {"lora": {"dropout": 0.1}, "training": {"packing": True, "gradient_checkpointing": True}},
    "nf4": {"quantization": "nf4", "lora": {"rank": 64, "dropout": 0.1}, "training": {"optimizer": "adamw_8bit"}},
    "dpo": {"objective": "dpo", "lora": {"dropout": 0.1}},
    "orpo": {"objective": "orpo", "lora": {"dropout": 0.1}},
}


def settings(case: str = "sft", **training: Any) -> dict[str, Any]:
    """20 steps in four epochs of five, the last step of each with one batch only."""
    wanted = CASES[case]
    recipe = {"epochs": 4, "batch_size": 2, "accumulate": 2, "learning_rate": 0.01, "threads": 1, "max_length": 200}
    return {
        "objective": wanted.get("objective", "sft"),
        "quantization": wanted.get("quantization", "none"),
        "lora": {"rank": 4, "alpha": 8, **wanted.get("lora", {})},
        "training": {**recipe, **wanted.get("training", {}), **training},
    }


class Study:
    """A study's folder in which one adapter is trained."""

    def __init__(self, folder: Path, wanted: dict[str, Any]) -> None:
        self.folder, self.settings = folder, wanted
        row = sft_row if wanted["objective"] == "sft" else preference_row
        rows = [row(number * 7) for number in range(21)]
        for number, longer in enumerate(rows):
            longer["prompt"][0]["content"] += " Please." * (number % 5)
        self.dataset = write_dataset(folder / "data", rows[:18], rows[18:])
        self.checkpoints = folder / "checkpoints"

    def train(self, name: str, key: str | None = KEY) -> tuple[Path, dict[str, Any]]:
        """The whole training in this process; returns its folder and facts."""
        output, wanted = self.folder / name, TrainSettings.model_validate(self.settings)
        return output, train_adapter(
            BASE, self.dataset, output, wanted, self.checkpoints, key=key, checkpoint_minutes=0
        )

    def start(self, pause: tuple[str, int], minutes: float = 0.0, goes_on: bool = False) -> BaseProcess:
        """The training in a process of its own, which has reached the moment of its pause."""
        paused = self.folder / f"paused-{pause[0]}-{pause[1]}"
        plan = {
            "base": str(BASE),
            "dataset": str(self.dataset),
            "output": str(self.folder / "killed"),
            "checkpoints": str(self.checkpoints),
            "settings": self.settings,
            "key": KEY,
            "minutes": minutes,
            "pause": list(pause),
            "paused": str(paused),
            "goes_on": goes_on,
            "words": str(self.folder / "words.txt"),
        }
        process = PROCESSES.Process(target=run, args=(plan,))
        process.start()
        deadline = time.monotonic() + 180
        while not paused.exists():
            if process.exitcode is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(self.words)
            time.sleep(0.05)
        return process

    @property
    def words(self) -> str:
        """What the killed process said."""
        return (self.folder / "words.txt").read_text()

    def steps(self) -> list[int]:
        return sorted(int(path.name[5:13]) for path in (self.checkpoints / KEY).glob("step-*"))


@pytest.fixture
def study(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tiny_base)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return lambda wanted: Study(tmp_path, wanted)


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def step(number: int) -> str:
    """The name of a checkpoint that a training on this machine writes."""
    return f"step-{number:08d}.{choose_precision('auto').computing}"


def digests(folder: Path) -> dict[str, str]:
    return {path.name: digest_file(path) for path in sorted(folder.iterdir())}


def losses(folder: Path) -> list[float]:
    return [row.get("loss", row.get("eval_loss")) for row in metrics_of(folder)]


def assert_same(one: Path, other: Path) -> None:
    assert losses(one) == pytest.approx(losses(other), abs=1e-5)
    assert digests(one) == digests(other)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_ten_steps_a_kill_and_ten_more_are_twenty_steps(study: Any, case: str) -> None:
    here = study(settings(case))
    straight, facts = here.train("straight", key=None)
    assert facts["steps"] == 20 and facts["resumed_from_step"] is None
    killed = here.start(("step", 10))
    kill(killed)
    assert killed.exitcode == -signal.SIGKILL and here.steps() == [9, 10]
    resumed, facts = here.train("resumed")
    assert facts["resumed_from_step"] == 10 and facts["steps"] == 20
    assert_same(straight, resumed)
    assert not here.checkpoints.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pause", "kept"), [(("substep", 7), 7), (("step", 5), 5), (("evaluation", 5), 5), (("optimizer", 7), 8)]
)
def test_sigterm_writes_a_checkpoint_at_any_moment(study: Any, pause: tuple[str, int], kept: int) -> None:
    """In the middle of a step or a measurement at once; while weights change, after that step."""
    here = study(settings())
    straight, _ = here.train("straight", key=None)
    told = here.start(pause, minutes=600, goes_on=pause[0] == "optimizer")
    before = time.monotonic()
    told.terminate()
    told.join(30)
    assert time.monotonic() - before < 10 and told.exitcode == 1
    assert f"told to stop (SIGTERM) after step {kept}: its checkpoint is kept" in here.words
    assert "Traceback" not in here.words
    assert here.steps() == [kept]
    resumed, facts = here.train("resumed")
    assert facts["resumed_from_step"] == kept
    assert_same(straight, resumed)


@pytest.mark.slow
def test_many_kills_and_the_best_weights_and_early_stopping_survive(study: Any) -> None:
    here = study(settings(best=True, evaluate=3, early_stopping={"patience": 4}, learning_rate=0.3))
    straight, facts = here.train("straight", key=None)
    for pause in (("step", 2), ("evaluation", 6), ("step", 9)):
        kill(here.start(pause))
    resumed, other = here.train("resumed")
    assert other["resumed_from_step"] == 9 and other["best_step"] == facts["best_step"] is not None
    assert other["steps"] == facts["steps"]
    assert_same(straight, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("evaluate", [3, "epoch"])
def test_a_kill_in_the_measurement_that_ends_a_training_changes_nothing(study: Any, evaluate: Any) -> None:
    """The checkpoint is older than the measurement, which is made up for and ends the training there."""
    here = study(settings(evaluate=evaluate, early_stopping={"patience": 1, "min_delta": 5.0}, best=False))
    straight, facts = here.train("straight", key=None)
    last = facts["steps"]
    assert last == {3: 6, "epoch": 10}[evaluate]
    kill(here.start(("evaluation", last)))
    resumed, other = here.train("resumed")
    assert (other["resumed_from_step"], other["steps"]) == (last, last)
    assert_same(straight, resumed)


@pytest.mark.slow
def test_a_checkpoint_in_another_number_format_is_set_aside(study: Any, caplog: pytest.LogCaptureFixture) -> None:
    """`auto` may find other hardware after a kill; the numbers so far are not its own."""
    here = study(settings(epochs=2, precision="bf16"))
    kill(here.start(("step", 7)))
    here.settings = settings(epochs=2, precision="fp32")
    straight, _ = here.train("straight", key=None)
    kill(here.start(("step", 3)))
    folder, form = here.checkpoints / KEY, choose_precision("bf16").computing.removeprefix("bf16-")
    assert sorted(path.name[9:] for path in folder.glob("step-*")) == [
        f"{number:04d}.{name}-{form}" for number, name in ((2, "fp32"), (3, "fp32"), (6, "bf16"), (7, "bf16"))
    ]
    assert json.loads((folder / f"step-00000007.bf16-{form}/manifest.json").read_text())["computing"] == f"bf16-{form}"
    with caplog.at_level(logging.WARNING):
        output, facts = here.train("resumed")
    assert facts["resumed_from_step"] == 3
    words = f"a checkpoint of a training in bf16-{form}, which this one in fp32-{form} cannot go on from: set aside"
    assert caplog.text.count(words) == 2
    assert_same(straight, output)


@pytest.mark.slow
def test_two_jobs_at_once_cannot_mix(study: Any) -> None:
    here = study(settings())
    first = here.start(("step", 3))
    with pytest.raises(TrainingError, match=rf"another process \(pid {first.pid}\) trains this adapter"):
        here.train("second")
    kill(first)
    assert here.train("third")[1]["resumed_from_step"] == 3


@pytest.mark.slow
def test_a_checkpoint_of_another_key_is_named_and_left_alone(study: Any, caplog: pytest.LogCaptureFixture) -> None:
    here = study(settings(epochs=2))
    straight, _ = here.train("straight", key=None)
    kill(here.start(("step", 4)))
    other = "b" * 64
    (here.checkpoints / other).mkdir()
    name = step(4)
    (here.checkpoints / KEY / name).rename(here.checkpoints / other / name)
    with caplog.at_level(logging.WARNING):
        output, facts = here.train("other", key=other)
    assert facts["resumed_from_step"] is None
    assert f"of build key {KEY}, not {other}: refused and left alone" in caplog.text
    assert f"({step(3)}) of other data, code or recipe (build key {KEY[:12]}" in caplog.text
    assert_same(straight, output)
    assert here.steps() == [3] and not (here.checkpoints / other).exists()


@pytest.mark.slow
def test_garbage_and_torn_checkpoints_are_skipped(study: Any, caplog: pytest.LogCaptureFixture) -> None:
    here = study(settings(epochs=2))
    straight, _ = here.train("straight", key=None)
    kill(here.start(("step", 4)))
    folder = here.checkpoints / KEY
    with open(folder / step(4) / "adapter.safetensors", "r+b") as stream:
        stream.truncate(100)
    (folder / step(5)).mkdir()
    (folder / step(6)).mkdir()
    (folder / step(6) / "manifest.json").write_text('["no", "manifest"]')
    (folder / ".writing-1-7").mkdir()
    with caplog.at_level(logging.WARNING):
        output, facts = here.train("resumed")
    assert facts["resumed_from_step"] == 3
    assert f"{step(4)}: adapter.safetensors is torn or changed: skipped" in caplog.text
    assert caplog.text.count("not a checkpoint") == 2
    assert_same(straight, output)


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self._target,)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"adapter": {"a": torch.arange(3.0)}}, {"x": [0.1, 1e-17]}, {"global_step": step})


def test_a_checkpoint_comes_back_to_the_bit_and_two_are_kept(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, KEY).held() as kept:
        for step in (1, 2, 10):
            kept.write(checkpoint(step))
        path, found = kept.newest()
    assert sorted(p.name for p in path.parent.glob("step*")) == ["step-00000002.any", "step-00000010.any"]
    assert path.name == "step-00000010.any"
    assert (found.step, found.values, found.state) == (10, {"x": [0.1, 1e-17]}, {"global_step": 10})
    assert torch.equal(found.tensors["adapter"]["a"], torch.arange(3.0))
    assert {p.suffix for p in path.iterdir()} == {".json", ".safetensors"}


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """Even where a digest vouches for it."""
    with Checkpoints(tmp_path, KEY).held() as kept:
        path = kept.write(checkpoint(1))
        (path / "adapter.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["files"]["adapter.safetensors"] = digest_file(path / "adapter.safetensors")
        (path / "manifest.json").write_text(json.dumps(manifest))
        assert kept.newest() is None
    assert not (tmp_path / "exploded").exists()


def test_a_failed_write_leaves_the_earlier_one(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, KEY).held() as kept:
        kept.write(checkpoint(1))
        broken = checkpoint(2)
        broken.values = {"x": object()}
        with pytest.raises(TypeError):
            kept.write(broken)
        assert kept.newest()[1].step == 1
    with Checkpoints(tmp_path, KEY).held():
        assert not list((tmp_path / KEY).glob(".writing-*"))
