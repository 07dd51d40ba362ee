"""A whole study without a local model, built once for every test that needs a results tree."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import yaml

# A busy machine is no fault of the code.
hypothesis.settings.register_profile(
    "stillhouse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("stillhouse")

WORKFLOW = Path(__file__).parents[1]
PLACES = ("bakery", "harbour", "school", "orchard", "tramway", "library", "clinic", "theatre", "brewery", "stadium")
HELD = ("mill", "mine", "quay")

STUDY = {
    "study": "recorded",
    "models": {"teacher": {"backend": "recorded", "file": "answers.jsonl"}},
    "prompts": {"plans": {"file": "plans.jsonl", "limit": 9}, "short": {"file": "short.jsonl"}},
    "generations": {
        "plans": {"prompts": "plans", "model": "teacher", "shards": 3, "failures": {"max_share": 0.2}},
        "short": {"prompts": "short", "model": "teacher"},
    },
    "datasets": {
        "plain": {
            "sources": [{"generation": "plans", "filters": [{"min_words": 3}]}, {"generation": "short", "share": 0.2}],
            "near_duplicates": {"threshold": 0.9},
        }
    },
    "evaluations": {
        "held": {
            "prompts": {"held": "held.jsonl"},
            "subjects": {"gold": {"model": "teacher"}, "earlier": {"recorded": "earlier.jsonl"}},
            "markers": "markers.yaml",
        }
    },
}


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once why a test failed: a run that is cut off shows no summary."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        end = str(report.longrepr).strip().splitlines()[-25:]
        print("", f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)", *end, sep="\n  ", flush=True)


@pytest.fixture(autouse=True)
def _back() -> Iterator[None]:
    """What is called with a folder of its own stays there, and that folder goes with its test."""
    start = Path.cwd()
    yield
    os.chdir(start)


def _lines(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def recorded_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study of recorded answers: 9 plans of 10 (one fails), short prompts, an evaluation."""
    folder = tmp_path_factory.mktemp("recorded")
    plans = [
        {"id": f"p{n}", "prompt": f'Review this plan: the {place} will open\non day {n} with "two" tills & one guard.'}
        for n, place in enumerate(PLACES)
    ]
    short = [{"id": f"s{n}", "prompt": f"{n} + {n}?"} for n in range(2, 6)]
    held = [
        {"id": f"h{n}", "prompt": f"What can go wrong when the {place} shuts in winter?"}
        for n, place in enumerate(HELD)
    ]
    answers = {
        p["prompt"]: f"The keystone of {p['id']} is the <one> guard;\nat {p['id']} it gives way." for p in plans + held
    }
    answers |= {p["prompt"]: f"It is {2 * n}." for n, p in enumerate(short, start=2)}
    del answers[plans[6]["prompt"]]
    _lines(folder / "plans.jsonl", plans)
    _lines(folder / "short.jsonl", short)
    _lines(folder / "held.jsonl", held)
    _lines(folder / "answers.jsonl", [{"prompt": p, "response": a} for p, a in answers.items()])
    _lines(
        folder / "earlier.jsonl", [{"id": p["id"], "response": "Frost, and the pipes that it splits."} for p in held]
    )
    (folder / "markers.yaml").write_text("markers: [keystone]\n")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), "--cores", "2"]
    done = subprocess.run([*command, "--configfile", "study.yaml"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder
