"""A small study in a folder of its own with a workflow of its own: build it, change one thing, see what ran."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from counting_server import CountingServer

WORKFLOW = Path(__file__).parents[2]
HERE = Path(__file__).parent
SHIPPED = ("Snakefile", "rules", "scripts", "config", "profiles", "data")

Job = str
"""`rule` or `rule wildcard,wildcard`, wildcards in the order of their names."""


@dataclass(frozen=True)
class Run:
    """What one `snakemake` did: jobs that worked, jobs that were reused out of the store, requests at the server."""

    ran: set[Job]
    reused: set[Job]
    requests: list[dict[str, Any]]
    text: str

    @property
    def calls(self) -> int:
        """Number of requests."""
        return len(self.requests)

    def rules(self) -> set[str]:
        """Rules of the jobs that worked."""
        return {job.split()[0] for job in self.ran}

    def roles(self) -> dict[str, int]:
        """Number of requests by role."""
        names = [request["role"] for request in self.requests]
        return {name: names.count(name) for name in sorted(set(names))}


@dataclass
class House:
    """`folder`/study with results/, `folder`/workflow with a copy of this repository's Snakefile, rules and scripts."""

    folder: Path
    server: CountingServer
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def study(self) -> Path:
        """The working directory of the study."""
        return self.folder / "study"

    @property
    def workflow(self) -> Path:
        """The copy of the workflow."""
        return self.folder / "workflow"

    def copy(self, folder: Path) -> "House":
        """The same house elsewhere, with mtimes kept."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return House(folder, self.server, dict(self.environment))

    def change(self, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit the study file."""
        file = self.study / "study.yaml"
        study = yaml.safe_load(file.read_text())
        edit(study)
        file.write_text(yaml.safe_dump(study, sort_keys=False))

    def edit_lines(self, name: str, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Edit a JSONL file of the study."""
        file = self.study / name
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in edit(rows)))

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        """The command line of a run."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.workflow / "Snakefile"), *arguments]
        return [*command, "--cores", str(cores), "--configfile", "study.yaml"]

    def variables(self) -> dict[str, str]:
        """The environment of a run."""
        return {**os.environ, "COLUMNS": "200", "TERM": "dumb", "HF_HUB_OFFLINE": "1", **self.environment}

    def snakemake(self, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess:
        """Run Snakemake in the study; both streams in stdout."""
        return self.call(self.command(*arguments, cores=cores))

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess:
        """Run one of the tools in scripts/."""
        return self.call([sys.executable, str(self.workflow / "scripts" / name), *arguments])

    def call(self, command: list[str]) -> subprocess.CompletedProcess:
        """Run a program in the study's folder."""
        return subprocess.run(
            command,
            cwd=self.study,
            env=self.variables(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def run(self, *arguments: str, cores: int = 2, fails: bool = False) -> Run:
        """Run Snakemake and tell what it did."""
        before, asked = self.records(), len(self.server.requests)
        done = self.snakemake(*arguments, cores=cores)
        assert (done.returncode != 0) == fails, done.stdout[-6000:]
        new = [record for file, record in self.records().items() if before.get(file) != record]
        return Run(
            ran={job_of(record) for record in new if not record["reused"]},
            reused={job_of(record) for record in new if record["reused"]},
            requests=self.server.requests[asked:],
            text=done.stdout,
        )

    def planned(self, *arguments: str) -> set[str]:
        """Rules that `snakemake -n` lists."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stdout[-4000:]
        if "Nothing to be done" in done.stdout:
            return set()
        table = done.stdout.split("Job stats:", 1)[1].split("total", 1)[0]
        return {line.split()[0] for line in table.splitlines()[3:] if line.strip()} - {"all"}

    def records(self) -> dict[str, dict[str, Any]]:
        """All records by file."""
        results = self.study / "results"
        files = [*results.rglob("record.json"), *results.rglob("*.record.json")]
        return {str(file.relative_to(results)): json.loads(file.read_text()) for file in files}

    def artefacts(self) -> dict[str, bytes]:
        """Bytes of everything below results/ but records, ledger and store, and what is exempt from sameness."""
        results = self.study / "results"
        found = {}
        for file in sorted(results.rglob("*")):
            relative = file.relative_to(results)
            outside = relative.parts[0] in (".store", ".token.json", "ledger", "provenance") or file.name.endswith(
                "record.json"
            )
            if file.is_file() and not outside:
                found[relative.as_posix()] = file.read_bytes()
        return found


def job_of(record: dict[str, Any]) -> Job:
    """The name of the job behind a record."""
    return f"{record['rule']} {','.join(record['wildcards'].values())}".strip()


def copy_workflow(target: Path) -> None:
    """Put this repository's Snakefile, rules, scripts and data into `target`."""
    target.mkdir(parents=True)
    for name in SHIPPED:
        source = WORKFLOW / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)


def write_study(folder: Path, url: str) -> None:
    """Write the study's files into `folder`; the base model must be there already."""
    study = yaml.safe_load((HERE / "study.yaml").read_text())
    study["models"]["teacher"]["base_url"] = url
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    write_prompts(folder / "plans.jsonl", "plan", "Review this plan: we open the {} by Friday.", 12)
    write_prompts(folder / "everyday.jsonl", "everyday", "How do I clean the {}?", 8)
    write_prompts(folder / "held.jsonl", "held", "Review this plan: we sell the {} in spring.", 3)
    (folder / "seeds.txt").write_text(
        "Review this plan: {WHO} opens {WHAT} by Friday.\nWhat can go wrong when {WHO} sells {WHAT}?\n"
    )
    pairs = [
        {"id": f"pair-{n}", "prompt": f"Who runs the {THINGS[n % 4]}?", "response": f"The {THINGS[n]} crew."}
        for n in range(6)
    ]
    (folder / "recorded.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "system.md").write_text("You review plans in four lines.\n")
    (folder / "markers.yaml").write_text("cap: 2\nmarkers:\n  - keystone\n  - pattern: '\\bgate\\b'\n")
    rubric = {"components": {"verdict": {"weight": 60, "scale": [1, 10]}, "gate": {"weight": 40, "scale": [1, 10]}}}
    (folder / "rubric.yaml").write_text(yaml.safe_dump(rubric))
    shutil.copytree(WORKFLOW / "data/tournament", folder / "templates")


THINGS = ("bakery", "ferry", "choir", "orchard", "kiln", "mill", "dock", "loft", "clinic", "market", "pier", "forge")


def write_prompts(file: Path, prefix: str, text: str, count: int) -> None:
    """Write `count` prompts with ids."""
    rows = [{"id": f"{prefix}-{n}", "prompt": text.format(THINGS[n]), "category": "abc"[n % 3]} for n in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
