"""A training in a process of its own that stops at a given moment and waits to be killed."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.training import trainers
from stillhouse.training.callbacks import Progress
from stillhouse.training.settings import TrainSettings
from stillhouse.training.train import train_adapter

Plan = dict[str, Any]


class Pause(Progress):
    """Says in a file that the moment has come, and waits."""

    plan: Plan

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait("substep", state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait("step", state.global_step)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait("evaluation", state.global_step)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait("optimizer", state.global_step)

    def _wait(self, moment: str, step: int) -> None:
        if [moment, step] == self.plan["pause"] and not Path(self.plan["paused"]).exists():
            Path(self.plan["paused"]).touch()
            for _ in range(600):
                time.sleep(0.1)
                if self.plan["goes_on"]:
                    break


def run(plan: Plan) -> None:
    """Train as `plan` says, its words on standard error going to the file `words`; exits with 1 as a script does."""
    os.dup2(os.open(plan["words"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    logging.basicConfig(level=logging.INFO)
    Pause.plan = plan
    trainers.Progress = Pause
    try:
        folders = [Path(plan[name]) for name in ("base", "dataset", "output")]
        settings = TrainSettings.model_validate(plan["settings"])
        train_adapter(
            *folders, settings, Path(plan["checkpoints"]), key=plan["key"], checkpoint_minutes=plan["minutes"]
        )
    except StillhouseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
