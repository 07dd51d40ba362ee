"""A tournament and judges through the real Snakefile and a real server: llama-cpp-python's own, with the embedded model."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from counting_server import CountingServer
from house import House, copy_workflow

from stillhouse.llm.ledger import Ledger
from stillhouse.llm.weights import embedded_gguf
from stillhouse.provenance.files import read_parquet_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="llama-cpp-python's server needs uvicorn"),
]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Base URL of llama_cpp.server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(embedded_gguf()), "--n_ctx", "1024"]
    with open(tmp_path / "server.log", "w") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
    found = f"http://127.0.0.1:{port}/v1"
    try:
        while process.poll() is None and not answers(f"{found}/models"):
            time.sleep(0.2)
        assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
        yield found
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_a_tournament_over_http(tmp_path: Path, url: str, server: CountingServer) -> None:
    house = House(tmp_path / "house", server)
    house.study.mkdir(parents=True)
    copy_workflow(house.workflow)
    (house.study / "prompts.jsonl").write_text(
        '{"prompt": "Name one fruit."}\n{"prompt": "Name one river in Europe."}\n'
    )
    generation = {
        "prompts": "p", "method": "tournament", "model": "smol", "failures": {"max_share": 1},
        "tournament": {"judges": 1, "max_rounds": 1, "convergence": 1}, "sampling": {"temperature": 0.5, "max_tokens": 24},
    }  # fmt: skip
    model = {"backend": "openai", "base_url": url, "model": "smollm2", "limits": {"concurrency": 2}}
    study = {"study": "http", "models": {"smol": model}, "prompts": {"p": {"file": "prompts.jsonl"}}}
    (house.study / "study.yaml").write_text(yaml.safe_dump({**study, "generations": {"g": generation}}))
    house.run()
    rows = read_parquet_rows(house.study / "results/generations/g/answers.parquet")
    failures = read_parquet_rows(house.study / "results/generations/g/failures.parquet")
    assert len(rows) + len(failures) == 2
    assert rows
    ledger = Ledger(house.study / "results/ledger")
    for row in rows:
        round_ = json.loads(row["transcript"])["rounds"][0]
        assert row["answer"] == (round_["candidates"][round_["winner"]] if not round_["no_flaws"] else row["draft"])
        assert ledger.entry(row["answer_call"])["usage"]["completion_tokens"] > 0
    assert house.planned() == set()


RUBRIC = """
components:
  clear: {weight: 60, scale: [1, 5], description: It can be understood at once.}
  short: {weight: 40, scale: [1, 5], description: It wastes no word.}
"""


def test_judges_over_http(tmp_path: Path, url: str, server: CountingServer) -> None:
    house = House(tmp_path / "house", server)
    house.study.mkdir(parents=True)
    copy_workflow(house.workflow)
    for name, words in (("long", "Well, there are of course many things to say about"), ("short", "It is simply")):
        rows = [
            {"id": f"q-{n}", "prompt": f"What is {n} plus {n}?", "response": f"{words} {2 * n}."} for n in (1, 2, 3)
        ]
        (house.study / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (house.study / "rubric.yaml").write_text(RUBRIC)
    evaluation = {
        "subjects": {name: {"recorded": f"{name}.jsonl"} for name in ("long", "short")},
        "rubric": {"file": "rubric.yaml", "judges": ["smol"]}, "breaks": {"judges": ["smol"]},
        "pairwise": {"pairs": [["short", "long"]], "judges": ["smol"], "axes": ["usefulness"], "reasons": True},
        "judging": {"max_tokens": 96}, "rules": {"max_unscored": 1.0},
    }  # fmt: skip
    model = {"backend": "openai", "base_url": url, "model": "smollm2", "limits": {"concurrency": 2}}
    study = {"study": "http", "models": {"smol": model}, "evaluations": {"e": evaluation}}
    (house.study / "study.yaml").write_text(yaml.safe_dump(study))
    house.run()
    folder, ledger = house.study / "results/evaluations/e", Ledger(house.study / "results/ledger")
    kinds = {"rubric": 6, "pairwise": 6, "breaks": 6}
    for kind, count in kinds.items():
        verdicts = [r for r in read_parquet_rows(folder / f"judgements/{kind}.parquet") if r["judge"] == "smol"]
        assert len(verdicts) == count
        for row in verdicts:
            assert 1 <= len(row["calls"]) <= 2
            assert row["raw"] == ledger.get(row["calls"][-1]).text
    report = json.loads((folder / "report.json").read_text())
    judge = report["judges"]["smol"]
    assert judge["pairwise"]["n"] + judge["pairwise"]["unscored"] == 6
    assert (folder / "report.html").exists()
    assert house.planned() == set()
