"""Limits: even pace, tokens by reservation, the day's count across processes and kills, and shares that never add up to more."""

import asyncio
import datetime
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import LimitError
from stillhouse.llm import limits
from stillhouse.llm.limits import Pace, Quota, RequestsToday, quota
from stillhouse.study.models import Limits
from stillhouse.study.shares import Part, slots_of, slots_resource

NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC).timestamp()


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def starts(pace: Pace, clock: Clock, sizes: list[int], used: Callable[[int], int] | None = None) -> list[float]:
    async def run() -> list[float]:
        found = []
        for size in sizes:
            start = await pace.start(size)
            found.append(clock.now)
            if used:
                pace.settle(start, used(size))
        return found

    return asyncio.run(run())


def most_in_a_minute(at: list[float], weights: list[int]) -> int:
    return max(sum(w for other, w in zip(at, weights, strict=True) if begin <= other <= begin + 60) for begin in at)


@given(st.integers(1, 400), st.integers(1, 600))
def test_any_minute_stays_within_the_requests(per_minute: int, count: int) -> None:
    clock = Clock()
    at = starts(Pace(Quota(4, per_minute), clock, clock.sleep), clock, [1] * count)
    assert most_in_a_minute(at, [1] * count) <= per_minute
    assert at[-1] - 1000.0 <= count * 60 / per_minute * 1.03  # and hardly below


@given(st.integers(1000, 50_000), st.lists(st.integers(1, 1000), min_size=1, max_size=120))
def test_any_minute_stays_within_the_tokens(per_minute: int, sizes: list[int]) -> None:
    clock = Clock()
    at = starts(Pace(Quota(4, None, per_minute), clock, clock.sleep), clock, sizes)
    assert most_in_a_minute(at, sizes) <= per_minute


def test_tokens_that_are_not_used_come_back(tmp_path: Path) -> None:
    clock = Clock()
    at = starts(Pace(Quota(4, None, 60_000), clock, clock.sleep), clock, [2000] * 101, used=lambda size: 200)
    assert 0.2 * 100 <= at[-1] - at[0] <= 0.3 * 100  # 1000 tokens a second: not 2 s each


def test_a_job_after_a_killed_one_keeps_the_pace() -> None:
    """The second begins where the first ended, and knows nothing of it."""
    clock, at = Clock(), []
    for count in (30, 1, 40):
        at += starts(Pace(Quota(4, 30), clock, clock.sleep), clock, [1] * count)
    assert most_in_a_minute(at, [1] * 71) <= 30


def test_a_hold_lets_nothing_start() -> None:
    clock = Clock()
    pace = Pace(Quota(4), clock, clock.sleep)
    assert starts(pace, clock, [1, 1]) == [1000.0, 1000.0]
    pace.hold(7.5)
    assert starts(pace, clock, [1, 1]) == [1007.5, 1007.5]


def test_waiting_ones_start_in_order() -> None:
    clock, order = Clock(), []

    async def one(pace: Pace, number: int) -> None:
        await pace.start(1)
        order.append(number)

    async def run() -> None:
        pace = Pace(Quota(9, 60), clock, clock.sleep)
        await asyncio.gather(*(one(pace, number) for number in range(9)))

    asyncio.run(run())
    assert order == list(range(9))


@given(st.integers(1, 64), st.integers(1, 2000), st.integers(1, 12), st.integers(1, 12), st.integers(1, 8))
def test_shares_of_jobs_that_fit_beside_each_other_stay_within_every_limit(
    concurrency: int, rate: int, shards: int, others: int, cores: int
) -> None:
    """Snakemake starts a job only when its slots are free: any such set of jobs of two generations."""
    limits = Limits(concurrency=concurrency, requests_per_minute=rate, tokens_per_minute=rate * 100)
    jobs = [Part(n, shards) for n in range(shards)] + [Part(n, others) for n in range(others)]
    free, quotas = concurrency, []
    for part in random.Random(shards).sample(jobs, len(jobs)):
        asked = slots_of(limits, concurrency, part, cores)
        assert 1 <= asked <= concurrency
        if asked <= free:
            free -= asked
            quotas.append(quota(limits, asked))
    assert sum(q.concurrency for q in quotas) <= concurrency
    assert sum(q.requests_per_minute for q in quotas) <= rate + 1e-6
    assert len(quotas) <= max(1, rate // 60)  # each with enough a minute to be evenly spaced


def test_shards_use_all_slots_and_a_lone_job_has_them_all() -> None:
    limits = Limits(concurrency=10)
    assert [slots_of(limits, 10, Part(n, 4), 4) for n in range(4)] == [3, 3, 2, 2]
    assert [slots_of(limits, 10, Part(n, 40), 4) for n in range(4)] == [3, 3, 2, 2]
    assert slots_of(limits, 10, Part(), 4) == 10
    assert slots_of(limits, 3, Part(), 4) == 3  # --resources says fewer
    assert slots_of(limits, 10, Part(7, 100), 100) == 1
    assert slots_of(limits, 10, Part(3, 8), 1) == 10


@given(st.text("aB9.-_", min_size=1), st.text("aB9.-_", min_size=1))
def test_resource_names_are_plain_and_tell_models_apart(one: str, other: str) -> None:
    assert slots_resource(one).isidentifier()
    assert (slots_resource(one) == slots_resource(other)) == (one == other)


def test_the_day_is_counted_over_processes_and_runs(tmp_path: Path) -> None:
    first = RequestsToday("gpt-4.1", 5, tmp_path, lambda: NOON)
    for _ in range(3):
        first.count()
    second = RequestsToday("gpt-4.1", 5, tmp_path, lambda: NOON + 60)
    second.count()
    second.count()
    with pytest.raises(LimitError, match=r"gpt-4\.1.*5 requests_per_day.*2026-11-22 00:00 UTC, in 12 h 0 min"):
        first.count()
    RequestsToday("gpt-4.1", 6, tmp_path, lambda: NOON).count()  # a refused one was not counted
    RequestsToday("other", 1, tmp_path, lambda: NOON).count()


def test_other_machines_count_and_old_days_go(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name, size in {"2026-11-21.node7": 4, "2026-11-20.node7": 9, "2026-11-19.node7": 9, "2026-11-09.x": 9}.items():
        (folder / name).write_bytes(b"." * size)
    today = RequestsToday("m", 5, tmp_path, lambda: NOON)
    today.count()
    with pytest.raises(LimitError):
        today.count()
    assert {file.name[:10] for file in folder.iterdir()} == {"2026-11-21", "2026-11-20"}


def test_at_midnight_a_new_day_begins(tmp_path: Path) -> None:
    now = [NOON]
    today = RequestsToday("m", 1, tmp_path, lambda: now[0])
    today.count()
    now[0] += 11.9 * 3600
    with pytest.raises(LimitError):
        today.count()
    now[0] += 0.2 * 3600
    today.count()


def test_no_limit_writes_nothing(tmp_path: Path) -> None:
    RequestsToday("m", None, tmp_path).count()
    assert list(tmp_path.iterdir()) == []


COUNTING = """
import sys
from pathlib import Path
from stillhouse.errors import LimitError
from stillhouse.llm.limits import RequestsToday
today = RequestsToday("m", int(sys.argv[2]), Path(sys.argv[1]), lambda: 1795262400.0)
while True:
    try:
        today.count()
    except LimitError:
        break
    print("asked", flush=True)
"""


def counting(folder: Path, most: int) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(limits.__file__).parents[2])}
    command = [sys.executable, "-c", COUNTING, str(folder), str(most)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_processes_at_once_never_pass_the_day_and_a_kill_forgets_nothing(tmp_path: Path) -> None:
    killed = counting(tmp_path, 100_000)
    asked = sum(1 for _ in itertools.islice(killed.stdout, 200))
    killed.send_signal(signal.SIGKILL)
    asked += len(killed.stdout.read().split("\n")) - 1
    killed.wait()
    counted = sum(file.stat().st_size for file in (tmp_path / "m").iterdir())
    assert asked <= counted <= asked + 1
    both = [counting(tmp_path, counted + 500) for _ in range(2)]
    asked = sum(len(process.communicate(timeout=60)[0].split()) for process in both)
    assert 498 <= asked <= 500
