"""What a server's answers say of its state: too many requests at once, or down."""

import asyncio
import datetime
import time
from collections import deque
from collections.abc import Callable
from statistics import median

from stillhouse.errors import ServerError, StopError

MUCH_SLOWER = 2.0
"""Answers count as slow when their median is this much above the best one seen ..."""
SLOWER_BY_S = 0.1
"""... and at least so many seconds above it."""
FEWEST = 8
"""Fewest answers that say how many are refused."""
ROUND = 16
"""Fewest answers of about one size whose median is looked at."""
FIRST = 0.25
"""This part of the slots is taken by requests that met a server not yet full: their median is the first to compare with."""
LESS_ON_REFUSAL, LESS_ON_LATENCY = 0.5, 0.7
FLOOR_BY_LATENCY = 0.25
"""Latency alone leaves this part of the slots: it may come from others' requests, which fewer of ours do not help."""
FLOOR_BY_FEW_REFUSALS = 0.5
"""Some refusals leave this part of the slots: servers also refuse for reasons that fewer requests at once do not help."""
MANY_REFUSALS, RECENT = 0.4, 32
"""More than this share of so many recent answers: the server has too much to do, or the minute's requests are used up."""
STEPS_UP = 16
"""Rounds of good answers until all slots are back."""
FEWEST_FAILURES = 3
"""Failures in a row before a server can count as down."""


class AdaptiveSlots:
    """At most `most` requests in flight; fewer while the server tells that these are too many, then more again.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it. At a steady latency all slots
    are open from the first request on.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self._open, self._clock = most, float(most), clock
        self._floor = max(1.0, most * FLOOR_BY_LATENCY)
        self._taken = self._begun = 0
        self._first = max(2, round(most * FIRST))
        self._doubted = False
        self._refusals: deque[bool] = deque(maxlen=RECENT)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sizes: dict[tuple[int, int], _Latencies] = {}
        self._changed = self._first_until = self._clock()

    @property
    def open(self) -> int:
        """Slots that may be used now."""
        return max(1, int(self._open))

    async def take(self) -> None:
        """Wait for a slot, in order of arrival."""
        if self._taken < self.open and not self._waiting:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot came, but nobody is left to use it
                self.give_back()
            raise

    def give_back(self) -> None:
        """Free a slot."""
        self._taken -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._taken < self.open:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

    def begin(self) -> float:
        """The time at which a request goes out, for what is told of it later."""
        now = self._clock()
        self._begun += 1
        if self._begun <= self._first:
            self._first_until = now
        return now

    @property
    def refusing(self) -> bool:
        """Whether many of the last requests were refused."""
        return len(self._refusals) >= FEWEST and sum(self._refusals) > MANY_REFUSALS * len(self._refusals)

    def refused(self, started: float) -> None:
        """A request begun at `started` was refused as one too many, or timed out."""
        self._refusals.append(True)
        few = max(1.0, self.most * FLOOR_BY_FEW_REFUSALS)
        self._lower(started, LESS_ON_REFUSAL, 1.0 if self.refusing else few)

    def answered(self, started: float, size: tuple[int, int]) -> None:
        """A request begun at `started` was answered now; `size` is its tokens (prompt, answer)."""
        self._refusals.append(False)
        kind = (size[0].bit_length() // 2, size[1].bit_length())
        latencies = self._sizes.setdefault(kind, _Latencies(max(ROUND, self.most)))
        seconds = self._clock() - started
        if started <= self._first_until:
            latencies.first(seconds)
        elif self._counts(started):
            self._judge(latencies.slow(seconds, lowest=self._open <= self._floor), started)
        if self._open < self.most and not self._doubted:
            self._open = min(self.most, self._open + max(1.0, self.most / STEPS_UP) / self._open)
            self._wake()

    def _judge(self, slow: bool | None, started: float) -> None:
        """Lower the slots after a slow round, and raise them again only after one that was not."""
        if slow:
            self._lower(started, LESS_ON_LATENCY, self._floor)
        if slow is not None:
            self._doubted = slow

    def _counts(self, started: float) -> bool:
        """Whether a latency tells of the number of slots open now: all were taken, and it began under that number."""
        return started >= self._changed and self._taken >= self.open

    def _lower(self, started: float, factor: float, floor: float) -> None:
        """Once for all requests in flight: those begun before the last change say nothing of it."""
        if started >= self._changed and self._open > floor:
            self._open = max(floor, self._open * factor)
            self._changed = self._clock()
            for latencies in self._sizes.values():
                latencies.forget_round()


class _Latencies:
    """Seconds of answers of about one size, in rounds; medians, since single ones vary."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._first: list[float] = []
        self._round: list[float] = []
        self._best: float | None = None

    def first(self, seconds: float) -> None:
        """An answer to one of the job's first requests."""
        self._first.append(seconds)
        self._best = median(self._first)

    def slow(self, seconds: float, *, lowest: bool) -> bool | None:
        """Whether the round that ends with this answer was slow; None when it goes on.

        With the fewest slots open (`lowest`) fewer requests have not helped: the server is taken as it is.
        """
        self._round.append(seconds)
        if len(self._round) < self._answers:
            return None
        found = median(self._round)
        self.forget_round()
        best = found if self._best is None else self._best
        slow = found > MUCH_SLOWER * best and found - best > SLOWER_BY_S
        self._best = found if slow and lowest else min(best, found)
        return slow and not lowest

    def forget_round(self) -> None:
        """Begin a new round."""
        self._round = []


class Health:
    """Whether a server answers at all; after `give_up_s` seconds of nothing but failures the job stops.

    Closed, open, half-open are a circuit breaker's states (Nygard, Release It!, 2007); here open ends the run in a
    resumable way, and `OpenAIBackend` sends the half-open probe.
    """

    def __init__(self, name: str, give_up_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._give_up_s, self._clock = name, give_up_s, clock
        self.answers = 0
        self.failures = 0
        self._since = 0.0
        self._stop: StopError | None = None
        self._stopped = asyncio.Event()

    def answered(self) -> None:
        """The server gave a good answer."""
        self.answers += 1
        self.failures = 0

    def failed(self, words: str) -> None:
        """A try failed in a way that may pass; raises `ServerError` when there was nothing else for too long."""
        if not self.failures:
            self._since = self._clock()
        self.failures += 1
        lasted = self._clock() - self._since
        if lasted >= self._give_up_s and self.failures >= FEWEST_FAILURES:
            began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=lasted)
            self.stop(
                ServerError(
                    f"{self._name}: nothing but failures since {began:%Y-%m-%d %H:%M:%S} UTC ({lasted:.0f} s, "
                    f"{self.failures} tries); the last one: {words}. What was answered is in the ledger: the same "
                    "command goes on once the server is back"
                )
            )

    def stop(self, error: StopError) -> None:
        """Raise `error`, here and in every call that waits or comes later."""
        self._stop = self._stop or error
        self._stopped.set()
        raise self._stop

    def check(self) -> None:
        """Raise what stopped the job, if anything did."""
        if self._stop:
            raise self._stop

    async def sleep(self, seconds: float) -> None:
        """Wait before the next try; ends early, with the error, when the job stops."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return
        self.check()
