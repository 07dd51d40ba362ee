"""One logging set-up for all scripts: everything reaches the rule's declared log, warnings and crashes too."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from stillhouse.errors import StillhouseError

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(log: Path | None) -> None:
    """Log to `log` (and, on a terminal, to standard error); libraries only from warnings on."""
    handlers: list[logging.Handler] = []
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log, mode="w", encoding="utf-8")
        file.setFormatter(logging.Formatter(FORMAT))
        handlers.append(file)
    if log is None or sys.stderr.isatty():
        handlers.append(RichHandler(console=Console(stderr=True), show_path=False, show_time=False))
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("stillhouse").setLevel(logging.INFO)
    logging.captureWarnings(True)


def run_logged(command: Sequence[str], error: type[StillhouseError]) -> None:
    """Run a program with its output in the log; raises `error` with its last lines when it fails."""
    logger = logging.getLogger("stillhouse.subprocess")
    done = subprocess.run(
        list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    for line in done.stdout.splitlines():
        logger.info("%s", line)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-12:])
        raise error(f"{Path(command[1] if len(command) > 1 else command[0]).name} failed ({done.returncode}):\n{tail}")
