"""How long planning, doing nothing and tracing take. Prints one JSON object; see benchmarks/README.md.

python benchmarks/rebuild.py            a million rows, ten thousand shards: ten minutes, 8 GB of memory, 3 GB of disk
python benchmarks/rebuild.py --small    the same on little, in a minute
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
TRACE = [sys.executable, str(WORKFLOW / "scripts/trace.py")]
LIMIT_S = 2.0
"""What a warm trace may take (issue 4)."""


@dataclass(frozen=True)
class Took:
    """One run of a program: seconds on the clock, and its largest resident memory in MiB."""

    seconds: float
    rss_mib: float


def run(command: list[str], folder: Path) -> Took:
    """Run a program in `folder`; raises `RuntimeError` with its last words when it fails."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read()[-3000:].decode("utf-8", "replace")
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Took(seconds, usage.ru_maxrss / 1024)


def median(command: list[str], folder: Path, times: int) -> Took:
    """The median of several runs."""
    took = [run(command, folder) for _ in range(times)]
    return Took(statistics.median(one.seconds for one in took), max(one.rss_mib for one in took))


def result(name: str, took: Took, **more: Any) -> dict[str, Any]:
    """One entry of `results`."""
    return {"name": name, "seconds": round(took.seconds, 3), "rss_mib": round(took.rss_mib, 1), **more}


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def trace_times(folder: Path, rows: int, shards: int, repeats: int) -> list[dict[str, Any]]:
    """Every question to a folder of `rows` rows and as many calls: first with nothing indexed, then again."""
    # in a process of its own: a child's largest memory begins with that of its parent
    make = run([sys.executable, str(WORKFLOW / "benchmarks/million_rows.py"), str(rows), str(shards)], folder)
    tell(f"{rows} rows and calls written in {make.seconds:.0f} s, {make.rss_mib:.0f} MiB")
    asked = json.loads((folder / "asked.json").read_text())
    adapters = [f"results/adapters/{name}" for name in ("big", "less")]
    questions = {
        "call": ["--call", asked["call"]],
        "tree": [adapters[0]],
        "row": ["--row", asked["prompt_id"]],
        "row by the user's id": ["--row", asked["id"]],
        "forward of a prompt": ["--forward", asked["prompt_id"]],
        "forward of a set": ["--forward", "big"],
        "diff": ["--diff", *adapters],
    }
    found = []
    for name in ("call", "row"):  # the other questions need no index
        shutil.rmtree(folder / ".stillhouse", ignore_errors=True)
        found.append(result(f"trace: {name}, building the index", run([*TRACE, *questions[name]], folder), rows=rows))
    for name, arguments in questions.items():
        took = median([*TRACE, *arguments], folder, repeats)
        found.append(result(f"trace: {name}", took, rows=rows, limit_s=LIMIT_S, within=took.seconds < LIMIT_S))
        tell(f"trace: {name}: {took.seconds:.2f} s")
    return found


def write_study(folder: Path, prompts: int, shards: int) -> list[str]:
    """A study of recorded answers with one dataset; returns the command that builds it."""
    texts = [f"Tell me about plan number {number}, please." for number in range(prompts)]
    rows = [{"id": f"p{number}", "prompt": text} for number, text in enumerate(texts)]
    answers = [{"prompt": text, "response": f"It is the plan whose text is this: {text}"} for text in texts]
    for name, lines in (("prompts.jsonl", rows), ("recorded.jsonl", answers)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    study = {
        "study": "benchmark",
        "models": {"recorded": {"backend": "recorded", "file": "recorded.jsonl"}},
        "prompts": {"plans": {"file": "prompts.jsonl"}},
        "generations": {"plans": {"prompts": "plans", "method": "single", "model": "recorded", "shards": shards}},
        "datasets": {"plain": {"sources": [{"generation": "plans"}]}},
    }
    (folder / "study.yaml").write_text(json.dumps(study, indent=2), encoding="utf-8")  # JSON is YAML
    return [*SNAKEMAKE, "--snakefile", str(WORKFLOW / "Snakefile"), "--cores", "2", "--configfile", "study.yaml"]


def plan_time(folder: Path, shards: int, start_up: Took) -> list[dict[str, Any]]:
    """`snakemake -n` over a study of which nothing is built."""
    took = run([*write_study(folder, shards, shards), "-n"], folder)
    tell(f"plan of {shards} shards: {took.seconds:.2f} s")
    more = {"shards": shards, "fraction": round(start_up.seconds / took.seconds, 3)}
    return [result("plan, nothing built", took, **more)]


def no_op_times(folder: Path, shards: int, repeats: int, start_up: Took) -> list[dict[str, Any]]:
    """A finished study, asked again: by `-n`, and by a run that finds nothing to do."""
    command = write_study(folder, 5 * shards, shards)
    built = run(command, folder)
    found = [result("build", built, shards=shards)]
    for name, more in (("no-op, -n", ["-n"]), ("no-op, run", [])):
        took = median([*command, *more], folder, repeats)
        found.append(result(name, took, shards=shards, fraction=round(start_up.seconds / took.seconds, 3)))
        tell(f"{name}: {took.seconds:.2f} s")
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a hundredth of the rows and shards")
    parser.add_argument("--only", choices=["trace", "plan", "no-op"], help="one part")
    arguments = parser.parse_args()
    rows, shards = (10_000, 100) if arguments.small else (1_000_000, 10_000)
    repeats, parts = (1 if arguments.small else 3), [arguments.only] if arguments.only else ["trace", "plan", "no-op"]
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="stillhouse-rebuild-") as place:
        folders = {part: Path(place) / part for part in parts}
        for folder in folders.values():
            folder.mkdir()
        run([*SNAKEMAKE, "--version"], Path(place))  # the first start reads its files from the disk
        start_up = median([*SNAKEMAKE, "--version"], Path(place), repeats)
        results.append(result("snakemake --version", start_up))
        if "trace" in parts:
            results += trace_times(folders["trace"], rows, min(100, shards), repeats)
        if "plan" in parts:
            results += plan_time(folders["plan"], shards, start_up)
        if "no-op" in parts:
            results += no_op_times(folders["no-op"], 4, repeats, start_up)
    settings = {"rows": rows, "calls": rows, "shards": shards, "repeats": repeats, "cores": os.cpu_count()}
    print(json.dumps({"benchmark": "rebuild", "settings": settings, "results": results}, indent=2))


if __name__ == "__main__":
    main()
