"""A model with the ledger in front: a call that was made once is never made again."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from stillhouse.errors import BudgetError
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Backend, Call, Message, Request, make_request
from stillhouse.provenance.guards import PaidCalls
from stillhouse.provenance.progress import Meter
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Budget
from stillhouse.study.models import Price

T = TypeVar("T")

_runner: asyncio.Runner | None = None


@dataclass
class Usage:
    """What a job's calls added up to, for its record and its budget."""

    made: int = 0
    replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    max_calls: int | None = None
    max_usd: float | None = None
    reserved: int = 0
    reserved_usd: float = 0.0

    def limit(self, budget: Budget, share: float) -> None:
        """Keep to this job's `share` of a generation's budget; a shard may always make one call."""
        if budget.calls is not None:
            self.max_calls = max(1, int(budget.calls * share))
        if budget.usd is not None:
            self.max_usd = budget.usd * share

    @contextmanager
    def reserve(self, usd: float) -> Iterator[None]:
        """Hold room for one call of at most `usd` while it is in flight.

        Raises `BudgetError` when the call, with those in flight beside it, could pass the budget.
        """
        if self.max_calls is not None and self.made + self.replayed + self.reserved >= self.max_calls:
            raise BudgetError(f"budget of {self.max_calls} calls reached; raise `budget: calls` to go on")
        if self.max_usd is not None and self.usd + self.reserved_usd + usd > self.max_usd:
            raise BudgetError(
                f"budget of {self.max_usd:g} USD would be passed ({self.usd:.4f} spent, {self.reserved_usd:.4f} in "
                f"flight, the next call may cost {usd:.4f}); raise `budget: usd`"
            )
        self.reserved += 1
        self.reserved_usd += usd
        try:
            yield
        finally:
            self.reserved -= 1
            self.reserved_usd -= usd

    def count(self, call: Call) -> None:
        """Add one call, replayed or made."""
        self.replayed += call.replayed
        self.made += not call.replayed
        self.prompt_tokens += call.prompt_tokens
        self.completion_tokens += call.completion_tokens
        self.usd += call.usd or 0.0
        self.unpriced += call.usd is None

    def facts(self) -> dict[str, Any]:
        """The totals as a record keeps them."""
        return {
            "calls_made": self.made,
            "calls_replayed": self.replayed,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "usd": round(self.usd, 6),
            "calls_without_price": self.unpriced,
        }


class Client:
    """Asks one model, through the ledger.

    `price` is USD per million tokens, None when unknown; `paid` counts the calls of a run to models that cost.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        ledger: Ledger,
        usage: Usage | None = None,
        price: Price | None = None,
        paid: PaidCalls | None = None,
    ) -> None:
        self.name = name
        self.identity = backend.identity
        self.grammars = backend.grammars
        self.usage = usage if usage is not None else Usage()
        self._backend, self._ledger, self._price, self._paid = backend, ledger, price, paid
        self._slots = asyncio.Semaphore(backend.concurrency)
        self._in_flight: dict[str, asyncio.Future[Call]] = {}
        self._served: set[str] = set()

    async def ask(
        self,
        messages: list[Message],
        sampling: Sampling,
        *,
        seed_parts: tuple[object, ...],
        grammar: str | None = None,
        index: int = 0,
    ) -> Call:
        """Answer `messages`; the seed derives from the sampling's seed and `seed_parts`.

        Raises `CallError` when the backend fails for good, `BudgetError` before a budget is passed.
        """
        held = grammar if self.grammars else None
        return await self.answer(
            make_request(self.identity, messages, sampling, seed_parts=seed_parts, grammar=held, index=index)
        )

    async def answer(self, request: Request) -> Call:
        """The call for `request`: out of the ledger, joined to the same one in flight, or made now."""
        known = self._ledger.get(request.digest)
        if known is None and request.digest in self._in_flight:
            known = replace(await asyncio.shield(self._in_flight[request.digest]), replayed=True)
        if known is not None:
            self._count(known)
            return known
        future = asyncio.get_running_loop().create_future()
        self._in_flight[request.digest] = future
        try:
            call = await self._make(request)
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # joined callers see it; without any, the loop must not complain
            raise
        finally:
            del self._in_flight[request.digest]
        future.set_result(call)
        return call

    def answer_batch(self, requests: list[Request], size: int) -> list[Call]:
        """Answer `requests` by a backend that decodes in batches, `size` at a time in the order given.

        A batch's composition can touch its last digits, so a batch with anything missing is decoded whole,
        and only what was missing is kept.
        """
        with Meter(self.name, len(requests)) as meter:
            for start in range(0, len(requests), size):
                batch = requests[start : start + size]
                self._decode_missing(batch)
                for _ in batch:
                    meter.advance()
        return run_async(self._answer_all(requests))

    def _decode_missing(self, batch: list[Request]) -> None:
        missing = [request for request in batch if request.digest not in self._ledger]
        if not missing:
            return
        started = time.monotonic()
        completions = self._backend.complete_batch(batch)
        seconds = (time.monotonic() - started) / len(batch)
        for request, completion in zip(batch, completions, strict=True):
            if request in missing:
                self._ledger.append(request, self.name, completion, Bill(None, seconds, 1))
        self.usage.made += len(missing)
        self.usage.replayed -= len(missing)

    async def _answer_all(self, requests: list[Request]) -> list[Call]:
        return [await self.answer(request) for request in requests]

    async def _make(self, request: Request) -> Call:
        async with self._slots:
            with self.usage.reserve(self._most(request)):
                if self._paid:
                    self._paid.start(self.name)
                started = time.monotonic()
                completion, tries = await self._backend.complete(request)
            usd = self._cost(completion.prompt_tokens, completion.completion_tokens)
            bill = Bill(usd, time.monotonic() - started, tries)
            self._ledger.append(request, self.name, completion, bill)
        call = Call(
            digest=request.digest,
            text=completion.text,
            finish_reason=completion.finish_reason,
            reasoning=completion.reasoning,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            usd=usd,
            replayed=False,
            served_model=completion.served_model,
        )
        self._count(call)
        return call

    def _count(self, call: Call) -> None:
        self.usage.count(call)
        if call.served_model:
            self._served.add(call.served_model)

    def facts(self) -> dict[str, Any]:
        """The model as a record names it: its name in the study, its identity, and the names that servers reported."""
        return {"name": self.name, **self.identity, "served": sorted(self._served)}

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        if self._price is None:
            return None
        return (prompt_tokens * self._price.input + completion_tokens * self._price.output) / 1e6

    def _most(self, request: Request) -> float:
        """USD that a call may cost: the whole of `max_tokens`, and a token for two characters of the prompt."""
        characters = sum(len(content) for _, content in request.messages)
        return self._cost(characters // 2, request.sampling["max_tokens"]) or 0.0

    def close(self) -> None:
        """Free the backend."""
        self._backend.close()


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on the one event loop of this process: connections and locks outlive a single batch of calls."""
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
    return _runner.run(coroutine)


def gather(
    coroutines: Iterable[Coroutine[Any, Any, T]], limit: int = 64, description: str = "calls", total: int | None = None
) -> list[T]:
    """Run `coroutines`, at most `limit` beside each other; results in their order.

    The first error cancels the rest and is raised, but a `BudgetError` lets the calls in flight end first; what
    was answered until then is in the ledger.
    """
    return run_async(_gather(iter(coroutines), limit, description, total))


async def _gather(
    coroutines: Iterable[Coroutine[Any, Any, T]], limit: int, description: str, total: int | None
) -> list[T]:
    results: dict[int, T] = {}
    spent: list[BudgetError] = []
    with Meter(description, total) as meter:

        async def work(shared: Iterator[tuple[int, Coroutine[Any, Any, T]]]) -> None:
            while not spent and (item := next(shared, None)) is not None:
                try:
                    results[item[0]] = await item[1]
                except BudgetError as error:  # what is in flight was paid for: let it end
                    spent.append(error)
                meter.advance()

        shared = enumerate(coroutines)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(limit):
                    group.create_task(work(shared))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            for _, unstarted in shared:
                unstarted.close()
    if spent:
        raise spent[0]
    return [results[number] for number in sorted(results)]
