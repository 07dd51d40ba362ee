"""The cost report: calls, tokens and USD by role and model, out of a real ledger."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Completion, make_request
from stillhouse.provenance.files import write_parquet
from stillhouse.study.base import Sampling
from stillhouse.tournament.columns import ANSWERS, FAILURES
from stillhouse.tournament.cost import cost_of, in_words

Row = dict[str, Any]
PAID = {"name": "paid", "backend": "openai", "model": "m-1", "price": {"input": 1.0, "output": 10.0}}
UNKNOWN = {"name": "unknown", "backend": "openai", "model": "m-2", "price": None}
LOCAL = {"name": "local", "backend": "llama_cpp", "context": 512, "price": None}
IDENTITIES = {
    "paid": {"backend": "openai", "model": "m-1"},
    "unknown": {"backend": "openai", "model": "m-2"},
    "local": {"backend": "llama_cpp", "weights": "ab", "context": 512},
}


class House:
    """A ledger and the files of a generation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger", "test")

    def call(self, model: str, *what: object, index: int = 0, name: str | None = None) -> str:
        """One call of 100 prompt tokens and 10 answer tokens in the ledger; its digest."""
        messages = [{"role": "user", "content": repr(what)}]
        request = make_request(IDENTITIES[model], messages, Sampling(), seed_parts=what, index=index)
        completion = Completion("text", "stop", prompt_tokens=100, completion_tokens=10)
        self.ledger.append(request, name or model, completion, Bill(123.0, 1.0, 1))
        return request.digest

    def cost(
        self,
        rows: list[Row],
        failed: list[list[str]],
        models: list[Row],
        checks: tuple[Path, ...] = (),
        scores: tuple[Path, ...] = (),
    ) -> Row:
        """The report over answers and over the calls of failed prompts."""
        answers, failures = self.folder / "answers.parquet", self.folder / "failures.parquet"
        write_parquet(answers, [{**dict.fromkeys(ANSWERS.names), **row} for row in rows], ANSWERS)
        write_parquet(failures, [{**dict.fromkeys(FAILURES.names), "calls": calls} for calls in failed], FAILURES)
        return cost_of(answers, failures, list(checks), self.ledger, models, list(scores))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def lines(cost: Row) -> dict[tuple[str, str], tuple[int, float | None]]:
    return {(line["role"], line["model"]): (line["calls"], line["usd"]) for line in cost["lines"]}


def single(*calls: str) -> Row:
    return {"transcript": json.dumps({"rounds": []}), "calls": list(calls)}


def test_every_role_of_a_tournament(house: House) -> None:
    votes = [house.call(model, "vote", number) for number, model in enumerate(("local", "unknown", "paid"))]
    told = {"round": 1, "no_flaws": False, "votes": [{"judge": n, "call": call} for n, call in enumerate(votes)]}
    writers = [house.call("paid", role) for role in ("teacher", "critic")]
    again = house.call("paid", "critic", index=1)
    rest = [house.call("local", role) for role in ("author", "synthesizer")]
    row = {"transcript": json.dumps({"rounds": [told]}), "calls": [*writers, again, *rest, *votes]}
    cost = house.cost([row], [[house.call("paid", "in vain")]], [PAID, UNKNOWN, LOCAL])
    one = 0.0002  # 100 tokens at 1 USD and 10 at 10 USD a million
    assert lines(cost) == {
        ("teacher", "paid"): (1, one), ("critic", "paid"): (2, 2 * one), ("author", "local"): (1, 0.0),
        ("synthesizer", "local"): (1, 0.0), ("judge", "local"): (1, 0.0), ("judge", "paid"): (1, one),
        ("judge", "unknown"): (1, None), ("failed prompts", "paid"): (1, one),
    }  # fmt: skip
    assert [line["role"] for line in cost["lines"]][:3] == ["teacher", "critic", "author"]
    assert (cost["calls"], cost["prompt_tokens"], cost["completion_tokens"]) == (9, 900, 90)
    assert (cost["usd"], cost["usd_known"]) == (None, 5 * one)  # one model has no price: the sum is not known
    assert (cost["unpriced_calls"], cost["unpriced_models"], cost["missing"]) == (1, ["unknown"], 0)
    assert in_words("g", cost) == "generation g: 9 calls, 990 tokens, 0.0010 USD, no price for 1 calls to unknown"


def test_no_price_at_all_is_no_zero(house: House) -> None:
    cost = house.cost([single(house.call("unknown", "a"))], [], [UNKNOWN])
    assert (cost["usd"], cost["usd_known"]) == (None, 0.0)
    assert "USD unknown, no price for 1 calls to unknown" in in_words("g", cost)


def test_the_external_check_has_a_line_of_its_own(house: House, tmp_path: Path) -> None:
    check = tmp_path / "check.parquet"
    rows = [{"calls": [house.call("paid", "one way")]}, {"calls": [house.call("paid", "the other")]}, {"calls": []}]
    write_parquet(check, rows, pa.schema([("calls", pa.list_(pa.string()))]))
    cost = house.cost([single(house.call("local", "a"))], [], [PAID, LOCAL], (check,))
    assert lines(cost) == {("teacher", "local"): (1, 0.0), ("external check", "paid"): (2, 0.0004)}
    assert cost["usd"] == 0.0004


def test_scores_have_a_line_of_their_own(house: House, tmp_path: Path) -> None:
    scores = tmp_path / "quality.parquet"
    shared = house.call("paid", "the same answer twice")
    write_parquet(scores, [{"calls": [shared]}, {"calls": [shared]}], pa.schema([("calls", pa.list_(pa.string()))]))
    cost = house.cost([single(house.call("local", "a"))], [], [PAID, LOCAL], scores=(scores,))
    assert lines(cost) == {("teacher", "local"): (1, 0.0), ("quality", "paid"): (1, 0.0002)}
    assert cost["usd"] == 0.0002


def test_a_call_behind_two_rows_counts_once(house: House) -> None:
    shared = house.call("paid", "same")
    cost = house.cost([single(shared), single(shared)], [[shared]], [PAID])
    assert (cost["calls"], cost["usd"]) == (1, 0.0002)


def test_calls_that_the_ledger_lacks_are_told(house: House) -> None:
    cost = house.cost([single(house.call("local", "a")), single("0" * 64)], [], [LOCAL])
    assert (cost["calls"], cost["missing"], cost["usd"]) == (1, 1, None)
    assert "1 calls are not in the ledger" in in_words("g", cost)


def test_a_renamed_model_keeps_its_calls(house: House) -> None:
    row = single(house.call("paid", "a", name="former"))
    assert lines(house.cost([row], [], [PAID])) == {("teacher", "paid"): (1, 0.0002)}
    # two models of the study ask for this name at a server: which of the two it was is not known, nor its price
    twin = {**PAID, "name": "twin", "price": None}
    assert lines(house.cost([row], [], [PAID, twin])) == {("teacher", "former"): (1, None)}


def test_the_price_of_today_counts_not_that_of_the_day(house: House) -> None:
    row = single(house.call("paid", "a"))
    dear = {**PAID, "price": {"input": 10.0, "output": 100.0}}
    assert house.cost([row], [], [dear])["usd"] == 0.002  # the ledger has 123 USD


def test_nothing_answered_costs_nothing(house: House) -> None:
    cost = house.cost([], [], [PAID])
    assert (cost["calls"], cost["usd"], cost["lines"]) == (0, 0.0, [])
