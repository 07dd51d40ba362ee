"""Goes on after a run that was killed: `make resume`, or

python scripts/resume.py [arguments for snakemake ...]

A kill leaves Snakemake's lock behind. It is taken away once nothing of the earlier run lives; then snakemake starts.
"""

import os
import subprocess
import sys

from stillhouse.provenance.owner import lock_held, survivors, unknown_host


def main() -> int:
    """Entry point; the exit status of snakemake, or 1 while the earlier run lives."""
    words = sys.argv[1:]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        *(words if any(w.startswith("--cores") for w in words) else ["--cores", "all", *words]),
    ]
    if lock_held():
        alive = survivors()
        if alive:
            told = ", ".join(f"{pid} ({name})" for pid, name in alive)
            print(
                f"the earlier run still works in this folder: process {told}. Wait for it, or end it", file=sys.stderr
            )
            return 1
        if (host := unknown_host()) and os.environ.get("STILLHOUSE_RESUME") != host:
            print(
                f"the run that holds the lock was started on {host}: make sure that it is dead, then set "
                f"STILLHOUSE_RESUME={host}",
                file=sys.stderr,
            )
            return 1
        unlocked = subprocess.run([*command, "--unlock"], check=False)
        if unlocked.returncode:
            return unlocked.returncode
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
