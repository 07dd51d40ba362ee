"""Asks again for the failed prompts of generations, and for nothing else: `make retry`, or

python scripts/retry.py [GENERATION ...] [arguments for snakemake ...]

Shards that hold failed prompts run again. What was answered comes out of the ledger; a prompt whose answers were empty
is asked with the next attempt. Without a name all generations under results/ are looked through.
"""

import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from stillhouse.llm.operations import RETRY
from stillhouse.provenance.code import WORKFLOW

GENERATIONS = Path("results/generations")


def failed_shards(generation: Path) -> dict[str, int]:
    """Shard files of a generation that hold failed prompts, and how many."""
    import pyarrow.parquet as pq

    found = {}
    for shard in sorted(generation.glob("shards/*.parquet")):
        stages = pq.read_table(shard, columns=["stage"]).column("stage")
        if failed := len(stages) - stages.null_count:
            found[str(shard)] = failed
    return found


def main() -> int:
    """Entry point; the exit status of snakemake, 0 when nothing had failed."""
    names = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    words = sys.argv[1 + len(names) :]
    folders = [GENERATIONS / name for name in names] or sorted(GENERATIONS.glob("*/"))
    for folder in folders:
        if not (folder / "shards").is_dir():
            known = ", ".join(sorted(path.name for path in GENERATIONS.glob("*/"))) or "none"
            print(f"{folder}: no shards there; generations that were answered: {known}", file=sys.stderr)
            return 1
    shards, targets = {}, []
    for folder in folders:
        if found := failed_shards(folder):
            shards.update(found)
            targets += [str(folder / "answers.parquet"), str(folder / "failures.parquet")]
    if not shards:
        print("no failed prompts: nothing to ask again")
        return 0
    print(f"{sum(shards.values())} failed prompts in {len(shards)} shards are asked again", flush=True)
    if not any(word.startswith("--cores") for word in words):
        words = ["--cores", "all", *words]
    if not any(word.startswith(("--snakefile", "-s")) for word in words):
        words = ["--snakefile", str(WORKFLOW / "Snakefile"), *words]
    command = [sys.executable, "-m", "snakemake", *targets, "--forcerun", *shards, *words]
    return subprocess.run(command, check=False, env={**os.environ, RETRY: "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
