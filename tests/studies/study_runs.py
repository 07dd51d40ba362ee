"""Runs Snakemake and trace.py on studies, each in a folder of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

WORKFLOW = Path(__file__).parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile")]


@dataclass(frozen=True)
class Built:
    """A folder in which a study was built."""

    folder: Path

    def snakemake(self, *arguments: str, configfile: str = "tests/studies/tiny.yaml") -> subprocess.CompletedProcess:
        """Run Snakemake on the study; standard output holds both streams."""
        # targets come first: --configfile takes every word that follows it
        command = [*SNAKEMAKE, *arguments, "--cores", "2", "--directory", str(self.folder)]
        return run([*command, "--configfile", str(WORKFLOW / configfile)], self.folder)

    def trace(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run scripts/trace.py in the folder."""
        return run([sys.executable, str(WORKFLOW / "scripts" / "trace.py"), *arguments], self.folder)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a program in `folder` with both output streams in stdout, as text."""
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
