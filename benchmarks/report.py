"""How fast an evaluation's report of 100,000 verdicts is written and opens. One JSON object; see README.md.

python benchmarks/report.py            a minute
python benchmarks/report.py --small    the same on a tenth of it

Needs Chromium (CHROMIUM below) and playwright. First paint, heap and clicks are the browser's own figures, best of RUNS.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
RUNS = 3
FULL = {"prompts": 2000, "few": 0, "panel": 4, "graders": 2}
"""5 subjects answer each prompt; 5 pairs in 2 orders by `panel` judges, every answer by `graders`."""
SMALL = {**FULL, "prompts": 200}
PAINT_TARGET_S = 3.0
STEPS = (
    ("list of answers", "#answers?subject=student", ".told"),
    ("list of comparisons", "#pairs?pair=student_vs_vanilla", ".told"),
    ("two answers side by side", "#answer?subject=student&set=plans&prompt=0000000000000003&sample=0&beside=vanilla", ".sides"),
)  # fmt: skip


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def write(folder: Path) -> dict[str, Any]:
    """Write the page in this process; seconds, bytes and the largest resident memory."""
    sys.path.insert(0, str(WORKFLOW / "scripts"))
    from synthetic_evaluation import inputs

    from stillhouse.reports.write import write_report

    page, started = folder / "report.html", time.perf_counter()
    write_report(folder / "report.json", page, folder / "report.md", **inputs(folder))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds, 3), "bytes": page.stat().st_size, "rss_mib": round(peak)}


def written(folder: Path) -> dict[str, Any]:
    """`write` in a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--write", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def opened(browser: Any, page: Path) -> dict[str, Any]:
    """Seconds to first paint, to the whole document and to each step, and the heap at the end."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(page.as_uri())
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    whole = tab.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    found = {"first_paint_s": paint / 1000, "whole_document_s": whole / 1000}
    for name, address, there in STEPS:
        started = time.perf_counter()
        tab.evaluate("address => { location.hash = address; }", address)
        tab.wait_for_function(
            "([address, there]) => browser.dataset.at === address && document.querySelector(there)",
            arg=[address, there],
        )
        found[f"{name}, s"] = time.perf_counter() - started
    found["blocks"] = tab.locator("[id^=block-]").count()
    found["blocks_unpacked"] = tab.locator("[data-unpacked]").count()
    found["heap_mib"] = tab.evaluate("performance.memory.usedJSHeapSize") / 2**20
    tab.close()
    return {name: round(value, 3) for name, value in found.items()}


def measure(size: dict[str, int]) -> list[dict[str, Any]]:
    """Build, write and open one evaluation."""
    from playwright.sync_api import sync_playwright
    from synthetic_evaluation import PAIRS, Size, build

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        tell("building the evaluation")
        build(folder, Size(**size))
        tell("writing the page")
        page = written(folder)
        tell("opening it")
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        runs = [opened(browser, folder / "report.html") for _ in range(RUNS)]
        browser.close()
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    answers = 5 * size["prompts"]
    verdicts = 2 * len(PAIRS) * size["prompts"] * size["panel"] + answers * size["graders"]
    paint = {"target_s": PAINT_TARGET_S, "within_target": best["first_paint_s"] < PAINT_TARGET_S}
    return [
        {"name": "write", "answers": answers, "verdicts": verdicts, **page},
        {"name": "open", "runs": RUNS, **best, **paint},
    ]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tenth of it")
    parser.add_argument("--write", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        print(json.dumps(write(arguments.write)))
        return
    size = SMALL if arguments.small else FULL
    print(json.dumps({"benchmark": "report", "settings": size, "results": measure(size)}, indent=2))


if __name__ == "__main__":
    main()
