"""The client makes a call once: replays, joins what is in flight, and stops at a budget."""

import asyncio
import json
from pathlib import Path

import pytest

from stillhouse.errors import BudgetError, CallError
from stillhouse.llm.client import Client, Usage
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.purse import Purse, cost
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.running import AHEAD, Slots, feed, gather
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


def purse(folder: Path, part: int = 0, key: str = "work", **bounds: float) -> Purse:
    return Purse(Budget(**bounds), "g", part, 3, key, folder / "budgets")


def test_a_budget_of_calls_is_never_passed_however_many_run(tmp_path: Path) -> None:
    client = Client("m", Echo(), Ledger(tmp_path / "ledger"), Usage(purse=purse(tmp_path, calls=10)))
    with pytest.raises(BudgetError, match=r"budget\.calls of 10 would be passed \(10 spent or in flight"):
        gather(ask(client, n) for n in range(30))
    assert client._backend.calls == 10
    assert len(Ledger(tmp_path / "ledger")) == 10


def test_a_budget_in_usd_is_never_passed_however_many_run(tmp_path: Path) -> None:
    price = Price(input=0.0, output=10_000.0)  # 1 USD an answer of 100 tokens
    client = Client("m", Echo(), Ledger(tmp_path / "ledger"), Usage(purse=purse(tmp_path, usd=5.5)), price)
    with pytest.raises(BudgetError, match=r"budget\.usd of 5\.5 would be passed \(5 spent .* may take 1\)"):
        gather(ask(client, n) for n in range(30))
    assert client._backend.calls == 5
    assert client.usage.usd == pytest.approx(5.0)


def test_a_budget_in_tokens_counts_what_calls_took_and_may_take(tmp_path: Path) -> None:
    client = Client("m", Echo(concurrency=1), Ledger(tmp_path / "ledger"), Usage(purse=purse(tmp_path, tokens=1000)))
    with pytest.raises(BudgetError, match=r"budget\.tokens of 1000 would be passed \(990 spent"):
        gather(ask(client, n) for n in range(30))
    assert client._backend.calls == 9  # 110 tokens each


def test_a_raised_budget_goes_on_where_it_stopped(tmp_path: Path) -> None:
    small = Client("m", Echo(), Ledger(tmp_path / "ledger"), Usage(purse=purse(tmp_path, calls=4)))
    with pytest.raises(BudgetError):
        gather(ask(small, n) for n in range(9))
    client = Client("m", Echo(), Ledger(tmp_path / "ledger"), Usage(purse=purse(tmp_path, calls=9)))
    assert len(gather(ask(client, n) for n in range(9))) == 9
    assert (client._backend.calls, client.usage.replayed) == (5, 4)


def test_all_shards_share_one_budget_whoever_spends_it(tmp_path: Path) -> None:
    clients = [
        Client("m", Echo(), Ledger(tmp_path / f"{part}"), Usage(purse=purse(tmp_path, part, calls=10)))
        for part in (0, 1)
    ]
    gather(ask(clients[0], n) for n in range(9))
    with pytest.raises(BudgetError, match="10 spent"):
        gather(ask(clients[1], n) for n in range(3))
    assert clients[1]._backend.calls == 1


def test_a_killed_job_cannot_spend_its_budget_twice(tmp_path: Path) -> None:
    lost = Client("m", Echo(), Ledger(tmp_path / "lost"), Usage(purse=purse(tmp_path, calls=10)))
    gather(ask(lost, n) for n in range(8))
    other = Client("m", Echo(), Ledger(tmp_path / "other"), Usage(purse=purse(tmp_path, 1, calls=10)))
    purse(tmp_path, calls=10)  # the first job starts again and has replayed nothing yet
    with pytest.raises(BudgetError):
        gather(ask(other, n) for n in range(3))
    assert other._backend.calls == 2


def test_spending_on_other_work_is_forgotten(tmp_path: Path) -> None:
    first = Client("m", Echo(), Ledger(tmp_path / "a"), Usage(purse=purse(tmp_path, calls=10)))
    gather(ask(first, n) for n in range(10))
    again = Client("m", Echo(), Ledger(tmp_path / "b"), Usage(purse=purse(tmp_path, key="other words", calls=10)))
    assert len(gather(ask(again, n) for n in range(10))) == 10


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


def test_the_least_advanced_is_served_first(tmp_path: Path) -> None:
    async def all_of_them() -> None:
        blocking = asyncio.create_task(client.answer(request("first")))
        await asyncio.sleep(0)
        await asyncio.gather(blocking, *(client.answer(request(n), n) for n in (3, 1, 2, 1)))

    def request(text: object) -> Request:
        return client.request([{"role": "user", "content": str(text)}], SAMPLING, seed_parts=(text, next(numbers)))

    numbers = iter(range(9))
    client = Client("m", Echo(concurrency=1), Ledger(tmp_path))
    gather([all_of_them()])
    assert [client._ledger.get(digest).text for digest in served(tmp_path)] == ["first", "1", "1", "2", "3"]


def served(folder: Path) -> list[str]:
    lines = next(folder.glob("*.jsonl")).read_text().splitlines()
    return [json.loads(line)["digest"] for line in lines]


def test_a_waiter_that_is_cancelled_takes_no_slot_with_it() -> None:
    async def scene() -> int:
        slots, ran = Slots(1), []

        async def hold(number: int) -> None:
            async with slots.hold():
                await asyncio.sleep(0.01)
                ran.append(number)

        tasks = [asyncio.create_task(hold(number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        while not ran:
            await asyncio.sleep(0.001)
        tasks[2].cancel()  # it may have been given its turn in this very moment
        await asyncio.gather(*tasks, return_exceptions=True)
        async with slots.hold():
            return len(ran)

    assert gather([asyncio.wait_for(scene(), 10)]) == [2]


def test_results_are_handed_on_early_and_few_are_held_back() -> None:
    begun, given = [], []

    async def work(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0.2 if number == 0 else 0)
        return number

    def sink(number: int) -> None:
        if number == 0:
            assert max(begun) < 3 * AHEAD
        given.append(number)

    feed((work(n) for n in range(50)), sink, 3, "numbers")
    assert given == list(range(50))


def test_a_stop_lets_what_is_in_flight_end_and_begins_nothing_new() -> None:
    ended = []

    async def work(number: int) -> int:
        if number == 2:
            raise BudgetError("enough")
        await asyncio.sleep(0.05)
        ended.append(number)
        return number

    with pytest.raises(BudgetError, match="enough"):
        gather((work(n) for n in range(1000)), limit=4)
    assert set(ended) >= {0, 1}
    assert len(ended) <= 6


def test_what_another_job_answered_while_a_call_waited_is_not_asked_again(tmp_path: Path) -> None:
    async def both() -> list[str]:
        blocking = asyncio.create_task(waiting.answer(waiting.request([], SAMPLING, seed_parts=("first",))))
        await asyncio.sleep(0)
        late = asyncio.create_task(ask(waiting, "same"))
        await asyncio.sleep(0)
        other._ledger.append(request, "m", Completion("theirs", "stop"), Bill(None, 0.1, 1))
        waiting._ledger.append(
            request, "m", Completion("theirs", "stop"), Bill(None, 0.1, 1)
        )  # as a look would find it
        await blocking
        return [(await late).text]

    class First(Echo):
        async def complete(self, request: Request) -> tuple[Completion, int]:
            self.calls += 1
            await asyncio.sleep(0.02)
            return Completion("first", "stop"), 1

    waiting, other = (
        Client("m", First(concurrency=1), Ledger(tmp_path, "a")),
        Client("m", Echo(), Ledger(tmp_path, "b")),
    )
    request = waiting.request([{"role": "user", "content": "same"}], SAMPLING, seed_parts=("same",))
    assert gather([both()]) == [["theirs"]]
    assert (waiting._backend.calls, waiting.usage.made, waiting.usage.replayed) == (1, 1, 1)


def test_what_a_killed_job_held_for_calls_in_flight_is_let_go_when_it_begins_again(tmp_path: Path) -> None:
    killed = purse(tmp_path, tokens=1000)
    killed.spend(cost(100, None), replayed=False)
    in_flight = killed.hold(cost(800, None))
    in_flight.__enter__()
    other = purse(tmp_path, 1, tokens=1000)
    with pytest.raises(BudgetError, match="900 spent or in flight"), other.hold(cost(200, None)):
        pass
    purse(tmp_path, tokens=1000)
    with other.hold(cost(200, None)):
        pass


def test_new_calls_beside_replayed_ones_do_not_pass_a_budget(tmp_path: Path) -> None:
    first = purse(tmp_path, calls=10)
    for _ in range(8):
        first.spend(cost(1, None), replayed=False)
    again = purse(tmp_path, calls=10)
    for _ in range(2):  # new ones, while the eight of before are still to be replayed
        with again.hold(cost(1, None)):
            again.spend(cost(1, None), replayed=False)
    with pytest.raises(BudgetError), again.hold(cost(1, None)):
        pass
    for _ in range(8):
        again.spend(cost(1, None), replayed=True)
    with pytest.raises(BudgetError, match="10 spent"), again.hold(cost(1, None)):
        pass


class Batches(Echo):
    """Answers a list with the list, so that an answer tells its company; refuses lists with `long` in them."""

    def __init__(self, batch: int = 3) -> None:
        super().__init__(concurrency=1)
        self.batch, self.lists = batch, []

    def complete_batch(self, requests: list[Request]) -> list[Completion]:
        texts = [request.messages[-1][1] for request in requests]
        self.lists.append(texts)
        if "long" in texts:
            raise CallError("does not fit")
        return [Completion(f"{text} of {'+'.join(texts)}", "stop", completion_tokens=1) for text in texts]


def listed(client: Client, *texts: object) -> list[Request]:
    return [client.request([{"role": "user", "content": str(text)}], SAMPLING, seed_parts=(text,)) for text in texts]


def test_an_answer_depends_on_the_list_and_not_on_who_is_asked_or_known(tmp_path: Path) -> None:
    whole = Client("m", Batches(), Ledger(tmp_path / "whole", "a"))
    requests = listed(whole, *range(7))
    whole.decode_together(requests)
    calls = gather(whole.answer(request) for request in requests)
    assert [call.text for call in calls[:4]] == ["0 of 0+1+2", "1 of 0+1+2", "2 of 0+1+2", "3 of 3+4+5"]
    assert whole._backend.lists == [["0", "1", "2"], ["3", "4", "5"], ["6"]] and whole._backend.calls == 0
    assert (whole.usage.made, whole.usage.replayed, whole.usage.completion_tokens) == (7, 0, 7)
    part = Client("m", Batches(), Ledger(tmp_path / "part", "a"))
    part.decode_together(requests)
    assert [call.text for call in gather(part.answer(requests[n]) for n in (5, 1))] == [calls[5].text, calls[1].text]
    assert part.usage.made == 2 and len(list(part._ledger)) == 2  # what nobody asked is not kept
    again = Client("m", Batches(), Ledger(tmp_path / "part", "b"))
    again.decode_together(requests)
    assert [call.text for call in gather(again.answer(request) for request in requests)] == [c.text for c in calls]
    assert (again.usage.made, again.usage.replayed) == (5, 2)


def test_a_batch_that_cannot_be_decoded_goes_one_by_one(tmp_path: Path) -> None:
    client = Client("m", Batches(), Ledger(tmp_path))
    requests = listed(client, 0, "long", 2, 3)
    client.decode_together(requests)
    calls = gather(client.answer(request) for request in requests)
    assert [call.text for call in calls] == ["0", "long", "2", "3 of 3"]


def test_a_request_that_comes_twice_in_a_list_is_decoded_with_its_first_company(tmp_path: Path) -> None:
    client = Client("m", Batches(), Ledger(tmp_path))
    requests = listed(client, 0, 1, 1, 3, 0, 5)
    client.decode_together(requests)
    calls = gather(client.answer(request) for request in reversed(requests))
    assert [call.text for call in calls] == [
        "5 of 3+0+5",
        "0 of 0+1+1",
        "3 of 3+0+5",
        *["1 of 0+1+1"] * 2,
        "0 of 0+1+1",
    ]
    assert client.usage.made == 4


def test_a_backend_without_batches_is_asked_as_ever(tmp_path: Path) -> None:
    client = Client("m", Echo(), Ledger(tmp_path))
    requests = listed(client, 1, 2)
    client.decode_together(requests)
    assert [call.text for call in gather(client.answer(request) for request in requests)] == ["1", "2"]
