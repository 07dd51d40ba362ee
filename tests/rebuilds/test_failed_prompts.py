"""Prompts that cannot be answered, through the real Snakefile: told, kept, and asked again when that is wanted."""

import json
from pathlib import Path
from typing import Any

import counting_server
import pytest
import yaml
from counting_server import CountingServer, words_for
from house import House, copy_workflow

from stillhouse.provenance.files import read_parquet_rows

PROMPTS = 12
pytestmark = pytest.mark.slow


@pytest.fixture
def house(tmp_path: Path, server: CountingServer) -> House:
    """A study of one single-pass generation."""
    house = House(tmp_path, server)
    house.study.mkdir()
    copy_workflow(house.workflow)
    prompts = [{"id": f"p{number}", "prompt": f"Question {number}?"} for number in range(PROMPTS)]
    (house.study / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    generation = {"prompts": "plans", "model": "teacher", "shards": 2, "failures": {"max_share": 0.1}}
    study = {
        "study": "failing",
        "models": {"teacher": {"backend": "openai", "base_url": server.url, "model": "counted"}},
        "prompts": {"plans": {"file": "prompts.jsonl"}},
        "generations": {"plans": generation},
    }
    (house.study / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return house


def rows(house: House, name: str) -> list[dict[str, Any]]:
    return read_parquet_rows(house.study / f"results/generations/plans/{name}.parquet")


def mute(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Let the server say nothing to these prompts."""
    silent = {f"Question {number}?" for number in numbers}
    said = lambda prompt, seed: "" if prompt in silent else words_for(f"{seed} {prompt}")  # noqa: E731
    monkeypatch.setattr(counting_server, "reply_to", said)


def test_failures_are_on_disk_when_they_stop_the_run_and_a_retry_asks_for_them_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute(monkeypatch, 1, 4, 8)
    stopped = house.run(fails=True)
    failed = rows(house, "failures")
    assert {(row["id"], row["stage"], row["attempts"]) for row in failed} >= {("p4", "teacher", 2)}
    assert "failures.max_share 0.1 allows" in stopped.text
    assert "retry.py plans" in stopped.text
    assert not (house.study / "results/generations/plans/answers.parquet").exists()

    mute(monkeypatch, 8)
    asked = len(house.server.requests)
    done = house.script("retry.py", "plans", "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout[-3000:]
    again = [request["messages"][-1]["content"] for request in house.server.requests[asked:]]
    assert set(again) <= {f"Question {row['id'][1:]}?" for row in failed}
    assert [row["id"] for row in rows(house, "failures")] == ["p8"]
    assert len(rows(house, "answers")) == PROMPTS - 1
    assert not (house.study / "results/generations/plans/refused-failures.parquet").exists()

    before = house.artefacts()
    assert house.script("retry.py", "--configfile", "study.yaml").returncode == 0
    assert len(house.server.requests) == asked + len(again) + 2  # p8, twice more
    assert {name: before[name] for name in before if "answers" in name} == {
        name: data for name, data in house.artefacts().items() if "answers" in name
    }
    assert house.planned("results/generations/plans/answers.parquet") == set()


def test_a_retry_without_failures_does_nothing(house: House) -> None:
    house.run()
    asked = len(house.server.requests)
    done = house.script("retry.py", "--configfile", "study.yaml")
    assert (done.returncode, done.stdout.strip()) == (0, "no failed prompts: nothing to ask again")
    unknown = house.script("retry.py", "nobody", "--configfile", "study.yaml")
    assert (unknown.returncode, len(house.server.requests)) == (1, asked)
    assert "generations that were answered: plans" in unknown.stdout


def test_a_budget_holds_over_all_shards_and_a_raised_one_goes_on(house: House) -> None:
    house.change(lambda study: study["generations"]["plans"].update(budget={"calls": 7}, shards=4))
    stopped = house.run(cores=4, fails=True)
    assert stopped.calls == 7
    assert "budget.calls of 7 would be passed" in stopped.text
    again = house.run(cores=4, fails=True)
    assert again.calls == 0
    house.change(lambda study: study["generations"]["plans"].update(budget={"calls": PROMPTS}))
    assert house.run(cores=4).calls == PROMPTS - 7
    assert len(rows(house, "answers")) == PROMPTS
