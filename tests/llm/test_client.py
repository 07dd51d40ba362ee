"""The client makes a call once: replays, joins what is in flight, and stops at a budget."""

import asyncio
from pathlib import Path

import pytest

from stillhouse.errors import BudgetError, CallError
from stillhouse.llm.client import Client, Usage, gather
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Budget
from stillhouse.study.models import Price

SAMPLING = Sampling(max_tokens=100)


class Echo:
    """Answers with the prompt, after a moment; counts calls and how many run beside each other."""

    identity = {"backend": "echo"}
    grammars = False

    def __init__(self, concurrency: int = 64, fails: bool = False) -> None:
        self.concurrency, self.fails = concurrency, fails
        self.calls = self.now = self.most = 0

    async def complete(self, request: Request) -> tuple[Completion, int]:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        if self.fails:
            raise CallError("down")
        return Completion(request.messages[-1][1], "stop", prompt_tokens=10, completion_tokens=100), 1

    def close(self) -> None:
        pass


def ask(client: Client, text: object, **more: object):
    return client.ask([{"role": "user", "content": str(text)}], SAMPLING, seed_parts=(text,), **more)


def test_a_call_in_the_ledger_is_never_made_again(tmp_path: Path) -> None:
    first = Client("m", Echo(), Ledger(tmp_path, "a"))
    assert [call.text for call in gather(ask(first, n) for n in range(5))] == list("01234")
    second = Client("m", Echo(), Ledger(tmp_path, "b"))
    calls = gather(ask(second, n) for n in range(5))
    assert [call.replayed for call in calls] == [True] * 5
    assert (second._backend.calls, second.usage.made, second.usage.replayed) == (0, 0, 5)


def test_the_same_request_in_flight_is_joined_and_billed_once(tmp_path: Path) -> None:
    client = Client("m", Echo(), Ledger(tmp_path), price=Price(input=1, output=1))
    calls = gather([ask(client, "same") for _ in range(8)])
    assert client._backend.calls == 1
    assert len({call.digest for call in calls}) == 1
    assert (client.usage.made, client.usage.replayed) == (1, 7)


def test_joined_callers_see_the_error_and_the_next_one_tries_again(tmp_path: Path) -> None:
    async def both() -> list:
        return await asyncio.gather(ask(client, "x"), ask(client, "x"), return_exceptions=True)

    client = Client("m", Echo(fails=True), Ledger(tmp_path))
    assert [str(error) for error in gather([both()])[0]] == ["down", "down"]
    client._backend.fails = False
    assert gather([ask(client, "x")])[0].text == "x"


def test_an_index_or_a_grammar_make_another_call_but_only_where_grammars_hold(tmp_path: Path) -> None:
    client = Client("m", Echo(), Ledger(tmp_path))
    calls = gather([ask(client, "x"), ask(client, "x", index=1), ask(client, "x", grammar="root ::= [a]")])
    assert len({call.digest for call in calls}) == 2


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_calls_than_slots_run_beside_each_other(tmp_path: Path, concurrency: int) -> None:
    client = Client("m", Echo(concurrency), Ledger(tmp_path))
    gather(ask(client, n) for n in range(12))
    assert client._backend.most == concurrency


def test_a_budget_of_calls_is_never_passed_however_many_run(tmp_path: Path) -> None:
    usage = Usage()
    usage.limit(Budget(calls=40), 0.25)
    client = Client("m", Echo(), Ledger(tmp_path), usage)
    with pytest.raises(BudgetError, match="budget of 10 calls reached"):
        gather(ask(client, n) for n in range(30))
    assert client._backend.calls == 10
    assert len(Ledger(tmp_path)) == 10


def test_a_budget_in_usd_is_never_passed_however_many_run(tmp_path: Path) -> None:
    price = Price(input=0.0, output=10_000.0)  # 1 USD an answer of 100 tokens
    usage = Usage(max_usd=5.5)
    client = Client("m", Echo(), Ledger(tmp_path), usage, price)
    with pytest.raises(BudgetError, match=r"budget of 5\.5 USD would be passed"):
        gather(ask(client, n) for n in range(30))
    assert client._backend.calls == 5
    assert usage.usd == pytest.approx(5.0)


def test_a_raised_budget_goes_on_where_it_stopped(tmp_path: Path) -> None:
    small = Client("m", Echo(), Ledger(tmp_path), Usage(max_calls=4))
    with pytest.raises(BudgetError):
        gather(ask(small, n) for n in range(9))
    client = Client("m", Echo(), Ledger(tmp_path), Usage(max_calls=9))
    assert len(gather(ask(client, n) for n in range(9))) == 9
    assert (client._backend.calls, client.usage.replayed) == (5, 4)


def test_the_first_error_is_raised_and_unstarted_work_is_closed(tmp_path: Path) -> None:
    client = Client("m", Echo(fails=True), Ledger(tmp_path))
    with pytest.raises(CallError, match="down"):
        gather((ask(client, n) for n in range(100)), limit=2)
    assert client._backend.calls <= 4


def test_results_keep_their_order() -> None:
    async def late(number: int) -> int:
        await asyncio.sleep(0.02 - number / 1000)
        return number

    assert gather((late(n) for n in range(20)), limit=7) == list(range(20))
    assert gather(iter([])) == []
