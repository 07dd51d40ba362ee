"""What an edit of a generation of 200 prompts costs: the calls that a counting server saw, through the real Snakefile."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from counting_server import CountingServer
from house import WORKFLOW, House, Run, copy_workflow

from stillhouse.provenance.files import read_parquet_rows

PROMPTS = 200
JUDGES = 3
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, server: CountingServer) -> tuple[House, Run]:
    """A study of one tournament, answered."""
    house = House(tmp_path_factory.mktemp("two-hundred"), server)
    house.study.mkdir()
    copy_workflow(house.workflow)
    prompts = [{"id": f"p{number}", "prompt": f"Review plan {number}: sell."} for number in range(PROMPTS)]
    (house.study / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    shutil.copytree(WORKFLOW / "data/tournament", house.study / "templates")
    limits = {"concurrency": 16}
    study = {
        "study": "many",
        "models": {"teacher": {"backend": "openai", "base_url": server.url, "model": "counted", "limits": limits}},
        "prompts": {"plans": {"file": "prompts.jsonl"}},
        "generations": {
            "plans": {
                "prompts": "plans",
                "method": "tournament",
                "model": "teacher",
                "tournament": {"judges": JUDGES, "max_rounds": 2, "convergence": 2, "templates": "templates"},
                "sampling": {"temperature": 0.7, "max_tokens": 60},
                "shards": 4,
            }
        },
    }
    (house.study / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    run = house.run()
    return house, run


@pytest.fixture
def house(answered: tuple[House, Run], tmp_path: Path) -> House:
    return answered[0].copy(tmp_path / "house")


def rows_of(house: House) -> list[dict[str, Any]]:
    return read_parquet_rows(house.study / "results/generations/plans/answers.parquet")


def votes_of(house: House) -> int:
    """Votes that the panels gave, over all rounds."""
    return sum(len(round_["votes"]) for row in rows_of(house) for round_ in json.loads(row["transcript"])["rounds"])


def test_every_prompt_is_answered_and_every_call_is_asked_once(answered: tuple[House, Run]) -> None:
    house, run = answered
    rows = rows_of(house)
    assert len(rows) == PROMPTS
    assert run.calls == sum(len(row["calls"]) for row in rows) == len({call for row in rows for call in row["calls"]})
    assert run.roles()["judge"] == votes_of(house)


def test_an_edited_prompt_costs_its_own_calls(house: House) -> None:
    def edit(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[77]["prompt"] = "Review plan 77: sell twice as much."
        return rows

    house.edit_lines("prompts.jsonl", edit)
    run = house.run()
    row = next(row for row in rows_of(house) if row["id"] == "p77")
    assert 0 < run.calls == len(row["calls"]) <= 1 + 2 * (3 + JUDGES)
    assert all("sell twice as much" in request["messages"][-1]["content"] for request in run.requests)


def test_two_more_judges_cost_their_own_votes(house: House) -> None:
    before = votes_of(house)
    house.change(lambda study: study["generations"]["plans"]["tournament"].update(judges=JUDGES + 2))
    run = house.run()
    # the server's judges agree, so that no winner changes
    assert run.roles() == {"judge": before // JUDGES * 2}


def test_other_words_for_the_judges_cost_the_votes_and_nothing_else(house: House) -> None:
    before = votes_of(house)
    template = house.study / "templates/judge.j2"
    template.write_text(template.read_text().replace("no padding", "no filler"))
    run = house.run()
    assert run.roles() == {"judge": before}
    assert all("no filler" in request["messages"][-1]["content"] for request in run.requests)


def test_another_number_of_shards_costs_nothing(house: House) -> None:
    before = (house.study / "results/generations/plans/answers.parquet").read_bytes()
    house.change(lambda study: study["generations"]["plans"].update(shards=3))
    assert house.run().calls == 0
    assert (house.study / "results/generations/plans/answers.parquet").read_bytes() == before


def test_budgets_and_limits_run_nothing(house: House) -> None:
    def edit(study: dict[str, Any]) -> None:
        study["generations"]["plans"].update(budget={"calls": 9000}, failures={"max_share": 0.01})
        study["models"]["teacher"]["limits"] = {"concurrency": 2, "requests_per_minute": 60}

    house.change(edit)
    assert not house.planned() & {"answer_shard", "collect_prompts"}
