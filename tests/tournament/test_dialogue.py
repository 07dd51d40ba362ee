"""Two models that talk, or one with itself: what each side reads, the row, failures, and that nothing is paid twice."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from scripted import Script, answer

from stillhouse.errors import BudgetError, CallError
from stillhouse.llm.client import Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.purse import Purse
from stillhouse.llm.requests import Completion, Request
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.generations import Budget, Dialogue, Failures
from stillhouse.tournament.cost import cost_of
from stillhouse.tournament.dialogue import OPENING
from stillhouse.tournament.estimate import estimate_generation
from stillhouse.tournament.merge import merge_shards
from stillhouse.tournament.settings import MergeSettings
from stillhouse.tournament.summary import SummarySettings, summarise_generation

HOUSE, GUEST = "You are the house.", "You are a doubtful guest."


def spoken(request: Request) -> str:
    """Each side says its name and how many turns it has read."""
    side = "Guest" if (("system", GUEST) in request.messages) else "House"
    return f"{side} after {sum(role != 'system' for role, _ in request.messages)}."


def talk(folder: Path, script: Script | None = None, turns: int = 5, **changes: Any) -> tuple[list[dict], Script]:
    script = script or Script(teacher=spoken)
    whole = {"method": "dialogue", "tournament": None, "system": HOUSE, "partner_system": GUEST, **changes}
    return answer(folder, script, dialogue=Dialogue(turns=turns, partner="n"), **whole), script


def test_each_side_reads_the_conversation_from_its_own_place(tmp_path: Path) -> None:
    _, script = talk(tmp_path)
    requests = [request.messages for _, request in script.asked]
    first, second, third = "House after 1.", "Guest after 3.", "House after 3."
    assert requests[0] == (("system", HOUSE), ("user", "Question 0?"))
    assert requests[1] == (("system", GUEST), ("user", OPENING), ("assistant", "Question 0?"), ("user", first))
    assert requests[2] == (*requests[0], ("assistant", first), ("user", second))
    assert requests[3] == (*requests[1], ("assistant", second), ("user", third))
    assert requests[4] == (*requests[2], ("assistant", third), ("user", "Guest after 5."))


def test_the_row_is_the_conversation_and_its_last_turn(tmp_path: Path) -> None:
    row = talk(tmp_path)[0][0]
    told = [
        {"role": "user", "content": "Question 0?"},
        {"role": "assistant", "content": "House after 1."},
        {"role": "user", "content": "Guest after 3."},
        {"role": "assistant", "content": "House after 3."},
        {"role": "user", "content": "Guest after 5."},
    ]
    assert json.loads(row["messages"]) == told
    assert (row["answer"], row["draft"], row["model"], row["method"]) == (
        "House after 5.",
        "House after 5.",
        "m",
        "dialogue",
    )
    assert (row["prompt"], row["rounds"], row["winners"], row["converged"]) == ("Question 0?", 0, [], None)
    turns = json.loads(row["transcript"])["turns"]
    assert [turn["speaker"] for turn in turns] == ["teacher", "partner"] * 2 + ["teacher"]
    assert [turn["model"] for turn in turns] == ["m", "n", "m", "n", "m"]
    assert [turn["turn"] for turn in turns] == [1, 2, 3, 4, 5]
    assert [call for turn in turns for call in turn["calls"]] == row["calls"]
    assert row["answer_call"] == turns[-1]["call"] == row["calls"][-1]


def test_the_first_turn_is_the_single_pass_and_one_turn_is_nothing_else(tmp_path: Path) -> None:
    single = answer(tmp_path, Script(), method="single", tournament=None, system=HOUSE)[0]
    rows, script = talk(tmp_path, Script(), turns=1)
    assert (script.asked, rows[0]["answer"], rows[0]["calls"]) == ([], single["answer"], single["calls"])
    assert (rows[0]["messages"], rows[0]["prompt_id"]) == (single["messages"], single["prompt_id"])


def test_a_longer_talk_pays_for_its_new_turns_only(tmp_path: Path) -> None:
    talk(tmp_path, turns=3)
    assert len(talk(tmp_path, turns=7)[1].asked) == 4


def test_without_a_partner_the_model_talks_with_itself(tmp_path: Path) -> None:
    row = answer(tmp_path, Script(), method="dialogue", tournament=None, dialogue=Dialogue(turns=3))[0]
    assert [turn["model"] for turn in json.loads(row["transcript"])["turns"]] == ["m"] * 3


def test_an_opening_of_several_turns_stands_before_the_talk(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Only for the teacher."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "What now?"},
    ]
    rows, script = talk(tmp_path, Script(teacher="Yes."), turns=3, asked=[{"messages": messages}], system=None)
    first, partner, last = [request.messages for _, request in script.asked]
    assert first == tuple((message["role"], message["content"]) for message in messages)
    assert partner == (
        ("system", GUEST), ("user", OPENING), ("assistant", "Hello."), ("user", "Good day."),
        ("assistant", "What now?"), ("user", "Yes."),
    )  # fmt: skip
    assert last == (*first, ("assistant", "Yes."), ("user", "Yes."))
    assert json.loads(rows[0]["messages"])[:4] == messages


@pytest.mark.parametrize(("turn", "stage"), [(1, "teacher"), (2, "partner"), (3, "teacher")])
def test_a_turn_that_is_not_to_be_had_fails_the_prompt_at_its_side(tmp_path: Path, turn: int, stage: str) -> None:
    script = Script(teacher=lambda request: CallError("down") if len(script.asked) == turn else spoken(request))
    row = talk(tmp_path, script)[0][0]
    assert (row["stage"], row["reason"], row["answer"], len(row["calls"])) == (stage, "down", None, turn - 1)
    assert json.loads(row["messages"]) == [{"role": "user", "content": "Question 0?"}]


def test_a_cut_off_turn_is_asked_for_once_more_and_its_calls_stay_with_it(tmp_path: Path) -> None:
    def partner(request: Request) -> Completion:
        cut = ("system", GUEST) in request.messages and request.index == 0
        return Completion("cut" if cut else spoken(request), "length" if cut else "stop")

    turns = json.loads(talk(tmp_path, Script(teacher=partner), turns=3)[0][0]["transcript"])["turns"]
    assert [len(turn["calls"]) for turn in turns] == [1, 2, 1]


def test_a_row_is_cut_off_when_any_of_its_turns_is(tmp_path: Path) -> None:
    def teacher(request: Request) -> Completion:
        last = len(request.messages) > 2
        return Completion("Whole." if last else "cut", "stop" if last else "length")

    row = answer(tmp_path, Script(teacher=teacher), method="dialogue", tournament=None, dialogue=Dialogue(turns=3))[0]
    assert [turn["truncated"] for turn in json.loads(row["transcript"])["turns"]] == [True, False, False]
    assert (row["answer"], row["truncated"]) == ("Whole.", True)
    (tmp_path / "whole").mkdir()
    assert talk(tmp_path / "whole")[0][0]["truncated"] is False


def test_the_reasoning_is_that_of_the_last_turn(tmp_path: Path) -> None:
    def teacher(request: Request) -> Completion:
        return Completion("Said.", "stop", reasoning=f"Thought before turn {len(request.messages)}.")

    row = answer(tmp_path, Script(teacher=teacher), method="dialogue", tournament=None, dialogue=Dialogue(turns=3))[0]
    assert row["reasoning"] == json.loads(row["transcript"])["turns"][-1]["reasoning"] == "Thought before turn 3."


def test_a_stopped_run_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    talk(whole, Script(random.Random(1), teacher=spoken), prompts=4, samples=2)
    purse = Purse(Budget(calls=17), "g", 0, 1, "work", tmp_path / "budgets")
    with pytest.raises(BudgetError):
        talk(tmp_path, prompts=4, samples=2, usage=Usage(purse=purse))
    _, script = talk(tmp_path, prompts=4, samples=2)
    assert len(script.asked) == 4 * 2 * 5 - 17
    assert (tmp_path / "0.parquet").read_bytes() == (whole / "0.parquet").read_bytes()


def test_report_and_cost_tell_both_sides(tmp_path: Path) -> None:
    talk(tmp_path, prompts=2)
    paths = (tmp_path / "answers.parquet", tmp_path / "failures.parquet")
    merge_shards([tmp_path / "0.parquet"], MergeSettings(generation="g", failures=Failures()), *paths)
    settings = SummarySettings(
        study="s", generation="g", prompts="p", method="dialogue", model="m", roles={}, tournament=None,
        external_judges=[],
    )  # fmt: skip
    calls = summarise_generation(*paths, settings)["all"]["calls"]
    assert calls["by_role"] == {"teacher": 6, "partner": 4}
    assert (calls["all"], calls["second_attempts"]) == (10, 0)
    models = [{"name": name, "backend": "scripted", "price": None} for name in "mn"]
    cost = cost_of(*paths, [], Ledger(tmp_path / "ledger"), models)
    assert {line["role"]: line["calls"] for line in cost["lines"]} == {"teacher": 6, "partner": 4}
    assert [line["role"] for line in cost["lines"]] == ["teacher", "partner"]
    assert read_parquet_rows(paths[1]) == []


def test_the_estimate_counts_every_turn_at_its_models_price() -> None:
    rows = [{"messages": json.dumps([{"role": "user", "content": "x" * 40}])}] * 2  # 10 tokens each
    generation = {
        "method": "dialogue", "model": "m", "roles": {}, "system": [], "sampling": {"max_tokens": 100}, "samples": 3,
        "context": None, "dialogue": {"turns": 3, "partner": "n"},
    }  # fmt: skip
    prices = {"m": {"input": 1.0, "output": 0.0}, "n": {"input": 0.0, "output": 1.0}}
    found = estimate_generation("g", generation, rows, prices)
    assert (found.calls, found.most) == (18, 18)
    assert found.prompt_tokens == 6 * (10 + 70 + 130)
    assert found.usd == pytest.approx(6 * (10 + 130 + 60) / 1e6)
