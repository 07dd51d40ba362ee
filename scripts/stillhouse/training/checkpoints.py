"""Checkpoints as files: tensors as safetensors, the rest as JSON, all by digest; nothing is ever unpickled.

A checkpoint is a folder `step-N.FORM` that was written beside its place, fsynced and renamed. Its manifest names the build
key of the training (data, code and recipe), the form that it computes in (number format and kind of device) and the
digest of every file.
"""

import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from stillhouse.errors import TrainingError
from stillhouse.provenance.digests import digest_file

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
VALUES = "values.json"
STATE = "trainer_state.json"
KEPT = 2
STEP = re.compile(r"^step-(\d{8})\.(.+)$")

Tensors = dict[str, torch.Tensor]


@dataclass
class Checkpoint:
    """The state of a training after a step: groups of tensors (adapter, optimizer, random, best) and plain values.

    `state` is the trainer's own, which it reads from its file `STATE` itself.
    """

    step: int
    tensors: dict[str, Tensors]
    values: dict[str, Any]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, below `folder` / `key`; held by one process at a time."""

    def __init__(self, folder: Path, key: str, computing: str = "any") -> None:
        """`computing` names number format and kind of device: numbers of one go on nowhere else to the bit."""
        self.key = key
        self.computing = computing
        self.folder = folder / key

    @contextmanager
    def held(self) -> Iterator["Checkpoints"]:
        """Keep other processes out while the block runs, and clear what a killed writer left half done.

        Raises `TrainingError` when another process trains the same adapter from the same data.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip() or "unknown"
                raise TrainingError(f"{self.folder}: another process (pid {owner}) trains this adapter") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            for left in self.folder.glob(".writing-*"):
                shutil.rmtree(left)
            self._tell_others()
            yield self

    def _tell_others(self) -> None:
        """Name the checkpoints of other data, code or recipe: they are left alone."""
        for other in sorted(self.folder.parent.iterdir()):
            steps = [path.name for path in other.glob("step-*")] if other.is_dir() and other != self.folder else []
            if steps:
                logger.warning(
                    "%s: a checkpoint (%s) of other data, code or recipe (build key %s, not %s) is refused, left alone",
                    other, max(steps), other.name[:12], self.key[:12],
                )  # fmt: skip

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint whole or not at all, and keep the newest two; returns its folder."""
        target = self.folder / f"step-{checkpoint.step:08d}.{self.computing}"
        stage = self.folder / f".writing-{os.getpid()}-{checkpoint.step}"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        for name, tensors in checkpoint.tensors.items():
            save_file(
                {key: value.detach().cpu().contiguous() for key, value in tensors.items()},
                stage / f"{name}.safetensors",
            )
        (stage / VALUES).write_text(json.dumps(checkpoint.values), encoding="utf-8")
        (stage / STATE).write_text(json.dumps(checkpoint.state), encoding="utf-8")
        files = {path.name: digest_file(path) for path in sorted(stage.iterdir())}
        manifest = {"key": self.key, "computing": self.computing, "step": checkpoint.step, "files": files}
        (stage / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in (*sorted(stage.iterdir()), stage):
            _fsync(path)
        if target.exists():
            shutil.rmtree(target)
        os.replace(stage, target)
        _fsync(self.folder)
        for old in self._steps(self.computing)[:-KEPT]:
            shutil.rmtree(old)
        return target

    def newest(self) -> tuple[Path, Checkpoint] | None:
        """The newest checkpoint that is whole and of this key and form; others are named in the log and left alone."""
        for path in reversed(self._steps()):
            found = self._read(path)
            if found:
                return path, found
        return None

    def remove(self) -> None:
        """Remove all of them, after the training's result is in its place."""
        shutil.rmtree(self.folder)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def _steps(self, computing: str | None = None) -> list[Path]:
        """All of them, or those of a number format and kind of device, oldest first."""
        found = ((STEP.match(path.name), path) for path in self.folder.iterdir() if path.is_dir())
        return sorted(path for match, path in found if match and computing in (None, match[2]))

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            key, step, files = manifest["key"], int(manifest["step"]), dict(manifest["files"])
            if key != self.key:
                logger.warning("%s: a checkpoint of build key %s, not %s: refused and left alone", path, key, self.key)
                return None
            if manifest["computing"] != self.computing:
                logger.warning(
                    "%s: a checkpoint of a training in %s, which this one in %s cannot go on from: set aside",
                    path, manifest["computing"], self.computing,
                )  # fmt: skip
                return None
            broken = [name for name, digest in files.items() if digest_file(path / Path(name).name) != digest]
            if broken:
                logger.warning("%s: %s is torn or changed: skipped", path, ", ".join(broken))
                return None
            groups = [name for name in files if name.endswith(".safetensors")]
            tensors = {name.removesuffix(".safetensors"): load_file(path / Path(name).name) for name in groups}
            values, state = (json.loads((path / name).read_text(encoding="utf-8")) for name in (VALUES, STATE))
        except Exception as error:  # garbage may break any reader; it must not break the training
            logger.warning("%s: not a checkpoint (%s: %s): skipped", path, type(error).__name__, str(error)[:200])
            return None
        return Checkpoint(step, tensors, values, state)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
