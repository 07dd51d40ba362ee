"""A million answers into a dataset: seconds, memory and rows kept, beside what a user would pick instead.

python benchmarks/datasets.py --peers PYTHON [--rows 1000000] [--only NAME ...] [--folder FOLDER] [--templated ROWS]

PYTHON is the interpreter of an environment with envs/requirements-benchmarks.txt; without it only Stillhouse runs.
Every contender runs in a process of its own on the same rows, one after the other. Before that each runs once on few
rows and is not timed: it compiles our kernels (kept on disk from then on; `warm_up_seconds` tells what the first build
of a new checkout takes) and brings the contenders' libraries into the cache of files. `ratio` is a peer's seconds over
ours. `--templated` runs ours alone, on so many rows of 30 templates filled with thousands of words and on twice as many:
their prompts are alike by the thousand; `ratio` is that of the processor's seconds. `rss_mib` is the largest sum of unshared and shared resident memory (PSS) over the process and its children.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# this folder has files of the names `datasets` and `coverage`; nothing imported here shall find them
sys.path.remove(str(Path(__file__).resolve().parent))

import psutil
import pyarrow.parquet as pq

CONTENDERS = Path(__file__).resolve().parent / "contenders"
OURS = "stillhouse"
PEERS = ("pandas", "datasets", "datatrove", "polars")
WARM_UP_ROWS = 10_000
STEP = 0.5
"""Seconds between two looks at a contender's memory; each stops it while its pages are counted."""


@dataclass(frozen=True)
class Run:
    """What one contender took."""

    seconds: float
    cpu_seconds: float
    rss_mib: float


def main() -> None:
    """Make the rows, run all contenders, print one JSON object."""
    settings = _settings()
    with tempfile.TemporaryDirectory(dir=settings.folder) as scratch:
        folder = Path(scratch)
        if settings.templated:
            print(json.dumps(_templated(settings.templated, folder), indent=2))
            return
        _note(f"making {settings.rows} rows in {folder}")
        few, many = folder / "few", folder / "many"
        for place, rows in ((few, min(WARM_UP_ROWS, settings.rows)), (many, settings.rows)):
            place.mkdir()
            _python(sys.executable, "invented_rows.py", str(place), str(rows))
        results = [_contend(name, few, many, settings.peers) for name in _names(settings)]
    ours = next((one for one in results if one["name"] == OURS), None)
    for one in results:
        one["ratio"] = round(one["seconds"] / ours["seconds"], 2) if ours else None
    told = {"rows": settings.rows, "cores": psutil.cpu_count(), "peers": _versions(settings.peers)}
    print(json.dumps({"benchmark": "datasets", "settings": told, "results": results}, indent=2))


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of about 140 words")
    parser.add_argument("--peers", help="Python with envs/requirements-benchmarks.txt; none: Stillhouse alone")
    parser.add_argument("--only", nargs="+", choices=(OURS, *PEERS), help="these contenders only")
    parser.add_argument("--templated", type=int, metavar="ROWS", help="so many rows of templates instead, ours only")
    parser.add_argument("--folder", help="where the rows and results may lie meanwhile (about 8 GB)")
    return parser.parse_args()


def _names(settings: argparse.Namespace) -> list[str]:
    able = (OURS, *PEERS) if settings.peers else (OURS,)
    return [name for name in able if settings.only is None or name in settings.only]


def _contend(name: str, few: Path, many: Path, peers: str | None) -> dict[str, Any]:
    """Run one contender on few rows, then on all, and judge what it wrote."""
    _note(f"running {name}")
    warm_up, _ = _run(name, few, peers)
    run, kept = _run(name, many, peers)
    result = {"name": name, **asdict(run), "warm_up_seconds": warm_up.seconds, "rows_kept": len(kept)}
    result |= _judged(kept, many)
    _note(json.dumps(result))
    return result


def _templated(rows: int, folder: Path) -> dict[str, Any]:
    """Ours on `rows` rows of templates and on twice as many, after a run on few."""
    places = []
    for count in (min(WARM_UP_ROWS, rows), rows, 2 * rows):
        places.append(folder / str(len(places)))
        places[-1].mkdir()
        _python(sys.executable, "invented_rows.py", str(places[-1]), str(count), "templated")
    _note("running stillhouse on templates")
    (warm_up, _), *runs = [_run(OURS, place, None) for place in places]
    results = [
        {"name": OURS, "rows": count * rows, **asdict(run), "rows_kept": len(kept)}
        for count, (run, kept) in enumerate(runs, 1)
    ]
    told = {"rows": rows, "cores": psutil.cpu_count(), "warm_up_seconds": warm_up.seconds}
    ratio = round(results[1]["cpu_seconds"] / results[0]["cpu_seconds"], 2)
    return {"benchmark": "datasets, templated", "settings": told, "results": results, "ratio": ratio}


def _run(name: str, folder: Path, peers: str | None) -> tuple[Run, set[int]]:
    """Run one contender; what it took, and the ids of the rows that it kept."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        output = Path(scratch)
        if name == OURS:
            run = _measured([sys.executable, str(CONTENDERS / "ours.py"), str(folder), str(output)])
        else:
            run = _measured([str(peers), str(CONTENDERS / "peers.py"), name, str(folder), str(output)])
        files = [file for file in sorted(output.glob("*.parquet")) if file.stem in ("train", "valid", "test")]
        return run, {int(row) for file in files for row in pq.read_table(file, columns=["id"])["id"].to_pylist()}


def _judged(kept: set[int], folder: Path) -> dict[str, Any]:
    """Planted pairs: how many that are alike lost a row, and how many that are not did.

    The rows of the planted pairs have nothing else that any filter would take.
    """
    pairs = json.loads((folder / "pairs.json").read_text())
    alike = [not (one in kept and other in kept) for one, other, near in pairs if near >= 0.9]
    apart = [not (one in kept and other in kept) for one, other, near in pairs if near <= 0.7]
    return {
        "pairs_at_090": len(alike),
        "recall_at_090": round(sum(alike) / max(len(alike), 1), 5),
        "pairs_below_070": len(apart),
        "wrong_drops_below_070": round(sum(apart) / max(len(apart), 1), 5),
    }


def _measured(command: list[str]) -> Run:
    """Run a command; its seconds on the clock and on the processors, and the peak memory of its processes."""
    began = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watch = _Watch(process)
    watch.start()
    _, complaint = process.communicate()
    seconds = time.perf_counter() - began
    watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{complaint.decode()[-3000:]}")
    return Run(round(seconds, 2), round(watch.cpu_seconds, 1), round(watch.peak / 2**20, 1))


class _Watch(threading.Thread):
    """Looks at the memory and processor time of a process and its children while it runs."""

    def __init__(self, process: psutil.Popen) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._times: dict[int, float] = {}
        self.peak = 0

    @property
    def cpu_seconds(self) -> float:
        """Seconds on the processors, as far as they were seen."""
        return sum(self._times.values())

    def run(self) -> None:
        while self._process.poll() is None:
            self.peak = max(self.peak, sum(map(self._look, self._family())))
            time.sleep(STEP)

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return []

    def _look(self, process: psutil.Process) -> int:
        try:
            with process.oneshot():
                times = process.cpu_times()
                self._times[process.pid] = times.user + times.system
                return process.memory_full_info().pss
        except psutil.Error:
            return 0


def _versions(peers: str | None) -> dict[str, str]:
    """Versions of the peers' packages."""
    if not peers:
        return {}
    names = ("pandas", "datasketch", "datasets", "datatrove", "polars", "rensa", "pyarrow", "numpy")
    code = f"from importlib.metadata import version; import json; print(json.dumps({{n: version(n) for n in {names}}}))"
    return json.loads(subprocess.run([peers, "-c", code], check=True, capture_output=True, text=True).stdout)


def _python(python: str, script: str, *arguments: str) -> None:
    subprocess.run([python, str(CONTENDERS / script), *arguments], check=True)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
