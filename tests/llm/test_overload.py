"""Overload and outage: fewer slots when a server has too much to do, all of them when it has not, and a clear end."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_server import LimitServer, error

from stillhouse.errors import ServerError
from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.openai_backend import OpenAIBackend
from stillhouse.llm.overload import AdaptiveSlots, Health
from stillhouse.llm.running import gather
from stillhouse.study.base import Sampling
from stillhouse.study.models import Limits, OpenAIModel


class Simulation:
    """A server whose latency is a function of the requests in flight, on a clock of its own."""

    def __init__(self, most: int, latency: Any, refuses: Any = lambda now: False) -> None:
        self.now = 0.0
        self.slots = AdaptiveSlots(most, lambda: self.now)
        self._latency, self._refuses = latency, refuses
        self._ends: list[tuple[float, float, bool]] = []
        self.opens: list[int] = []

    def run(self, answers: int) -> "Simulation":
        for _ in range(answers):
            while self.slots._taken < self.slots.open:
                self.slots._taken += 1
                flying = len(self._ends) + 1
                ends = self.now + self._latency(flying)
                self._ends.append((ends, self.slots.begin(), self._refuses(flying)))
            self._ends.sort()
            self.now, started, refused = self._ends.pop(0)
            self.slots.refused(started) if refused else self.slots.answered(started, (100, 100))
            self.slots.give_back()
            self.opens.append(self.slots.open)
        return self


@given(st.integers(1, 64), st.floats(0.01, 60))
@settings(max_examples=30)
def test_a_steady_server_is_always_asked_with_all_slots(most: int, latency: float) -> None:
    assert set(Simulation(most, lambda now: latency).run(1500).opens) == {most}


@given(st.integers(4, 64), st.integers(0, 10_000))
@settings(max_examples=25)
def test_a_noisy_server_is_asked_with_nearly_all_slots(most: int, seed: int) -> None:
    """Latencies that vary by a factor of two either way, as answers of one size class do."""
    dice = random.Random(seed)
    opens = Simulation(most, lambda now: dice.lognormvariate(0.0, 0.35)).run(3000).opens
    assert sum(opens) >= 0.93 * most * len(opens)


@pytest.mark.parametrize("most", [8, 32, 64])
def test_latency_alone_lowers_the_slots_and_they_come_back(most: int) -> None:
    busy = [True]
    server = Simulation(most, lambda now: 0.2 * (1 + (max(0, now - most / 4) * busy[0])))
    server.run(60 * most)
    assert min(server.opens) <= most * 0.75
    assert sum(server.opens[-20 * most :]) / (20 * most) < most * 0.9
    busy[0] = False
    assert server.run(80 * most).opens[-1] == most


def test_a_server_that_stays_slower_is_taken_as_it_is() -> None:
    slow = [1.0]
    server = Simulation(32, lambda now: 0.5 * slow[0]).run(500)
    slow[0] = 5.0
    opens = server.run(6000).opens
    assert min(opens) >= 8  # never below a quarter
    assert opens[-1] == 32


@pytest.mark.parametrize("most", [8, 32])
def test_refusals_lower_the_slots_to_what_the_server_takes(most: int) -> None:
    server = Simulation(most, lambda now: 0.3, lambda now: now > most / 4).run(4000)
    late = server.opens[1000:]
    assert most / 16 <= sum(late) / len(late) <= most / 2


def test_one_storm_of_refusals_counts_once() -> None:
    now = [0.0]
    slots = AdaptiveSlots(32, lambda: now[0])
    begun = [slots.begin() for _ in range(32)]
    now[0] = 1.0
    for started in begun:
        slots.refused(started)
    assert slots.open == 16


def test_a_cancelled_waiter_loses_no_slot() -> None:
    async def run() -> None:
        slots = AdaptiveSlots(1)
        await slots.take()
        waiting = [asyncio.create_task(slots.take()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        slots.give_back()
        waiting[1].cancel()
        await asyncio.wait_for(waiting[2], 5)

    asyncio.run(run())


def test_health_counts_only_failures_without_an_answer_between() -> None:
    now = [0.0]
    health = Health("m", 300, lambda: now[0])
    for second in range(0, 5000, 100):
        now[0] = second
        health.failed("busy")
        health.failed("busy")
        health.answered()
    health.failed("busy")
    now[0] += 299
    health.failed("busy")
    now[0] += 1
    with pytest.raises(ServerError, match=r"300 s, 3 tries\); the last one: gone"):
        health.failed("gone")
    with pytest.raises(ServerError):
        health.check()


def backend(server: LimitServer, concurrency: int, **more: Any) -> OpenAIBackend:
    model = OpenAIModel(
        backend="openai", base_url=server.url, model="m", limits=Limits(concurrency=concurrency), **more
    )
    return OpenAIBackend(model, {"backend": "openai", "model": "m"}, name="m")


@pytest.mark.slow
def test_a_real_server_that_gets_slower_by_the_requests_in_flight_is_asked_less(tmp_path: Path) -> None:
    with LimitServer(latency=lambda now: 0.05 + 0.03 * max(0, now - 8)).running() as server:
        asked = backend(server, 32)
        client = Client("m", asked, Ledger(tmp_path))
        sampling = Sampling(max_tokens=9)
        gather(
            (client.ask([{"role": "user", "content": f"Q{n}"}], sampling, seed_parts=(n,)) for n in range(400)),
            limit=64,
        )
        assert server.most["m"] == 32
        assert max(seen.now for seen in server.seen[-100:]) < 32
        low = asked._slots.open
        server.latency = lambda now: 0.1
        gather(
            (client.ask([{"role": "user", "content": f"R{n}"}], sampling, seed_parts=(n,)) for n in range(800)),
            limit=64,
        )
        assert asked._slots.open > low
        assert len(server.seen) == 1200


def test_a_server_with_a_bound_of_its_own_is_answered_by_fewer_requests(tmp_path: Path) -> None:
    """It refuses what goes beyond six at once; nothing fails of it."""
    full = (503, {}, error("slots are taken"))
    with LimitServer(fault=lambda seen: full if seen.now > 6 else None).running() as server:
        client = Client("m", backend(server, 16, max_tries=12), Ledger(tmp_path))
        calls = gather(
            (client.ask([{"role": "user", "content": f"Q{n}"}], Sampling(), seed_parts=(n,)) for n in range(300)),
            limit=64,
        )
        assert len(calls) == 300
        refused = [seen for seen in server.seen if seen.now > 6]
        assert len(refused) < 150
