"""A model with the ledger in front: a call that was made once is never made again."""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from stillhouse.errors import CallError
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.purse import Purse, Sum, cost
from stillhouse.llm.requests import Backend, Call, Completion, Message, Request, make_request
from stillhouse.llm.running import Slots
from stillhouse.llm.structured import held_by
from stillhouse.provenance.guards import PaidCalls
from stillhouse.study.base import Sampling
from stillhouse.study.models import Price


@dataclass
class Usage:
    """What a job's calls added up to, for its record, its progress and its budget (None: no budget)."""

    made: int = 0
    replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    purse: Purse | None = None
    _started: float = field(default_factory=time.monotonic)

    def count(self, call: Call) -> None:
        """Add one call, replayed or made."""
        self.replayed += call.replayed
        self.made += not call.replayed
        self.prompt_tokens += call.prompt_tokens
        self.completion_tokens += call.completion_tokens
        self.usd += call.usd or 0.0
        self.unpriced += call.usd is None
        if self.purse:
            sum_ = cost(call.prompt_tokens + call.completion_tokens, call.usd)
            self.purse.spend(sum_, replayed=call.replayed)

    def note(self) -> str:
        """Calls, their rate and their cost so far, in a few words."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        words = [f"{self.made:,} calls", f"{self.made / seconds:.1f}/s"]
        words += [f"{self.completion_tokens / seconds:.0f} tokens/s", f"{self.replayed:,} replayed"]
        spent = f"{self.usd:.4f} USD" if self.unpriced < self.made + self.replayed else ""
        unknown = f"{self.unpriced:,} of unknown price" if spent and self.unpriced else ""
        return ", ".join(filter(None, [*words, spent, unknown]))

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
        self.grammars, self.schemas = backend.grammars, getattr(backend, "schemas", False)
        self.usage = usage if usage is not None else Usage()
        self.batch: int = getattr(backend, "batch", 1)
        self._backend, self._ledger, self._price, self._paid = backend, ledger, price, paid
        self._slots = Slots(backend.concurrency)
        self._in_flight: dict[str, asyncio.Future[Call]] = {}
        self._served: set[str] = set()
        self._batches: dict[str, list[Request]] = {}
        self._decoded: dict[str, tuple[Completion, int, float]] = {}
        self._decoding = asyncio.Lock()

    def request(
        self,
        messages: list[Message],
        sampling: Sampling,
        *,
        seed_parts: tuple[object, ...],
        grammar: str | None = None,
        index: int = 0,
        tools: list[dict[str, Any]] | None = None,
    ) -> Request:
        """The request for `messages`; its seed derives from the sampling's seed and `seed_parts`."""
        held = held_by(grammar, gbnf=self.grammars, schemas=self.schemas)
        return make_request(
            self.identity, messages, sampling, seed_parts=seed_parts, grammar=held, index=index, tools=tools
        )

    def render(self, request: Request) -> str | None:
        """The text that the model reads for `request`, None where only its server knows."""
        return self._backend.render(request) if hasattr(self._backend, "render") else None

    def knows(self, request: Request) -> bool:
        """Whether the answer is in the ledger."""
        return request.digest in self._ledger

    async def ask(self, messages: list[Message], sampling: Sampling, **wanted: Any) -> Call:
        """`answer` the `request` for `messages`."""
        return await self.answer(self.request(messages, sampling, **wanted))

    async def answer(self, request: Request, priority: int = 0) -> Call:
        """The call for `request`: out of the ledger, joined to the same one in flight, or made now.

        Among the calls that wait for a slot the one with the lowest `priority` goes first. Raises `CallError` when
        the backend fails for good, `StopError` before a budget is passed and when the model's server is down.
        """
        known = self._ledger.get(request.digest)
        if known is None and request.digest in self._in_flight:
            known = replace(await asyncio.shield(self._in_flight[request.digest]), replayed=True)
        if known is not None:
            self._count(known)
            return known
        future = asyncio.get_running_loop().create_future()
        self._in_flight[request.digest] = future
        try:
            call = await self._make(request, priority)
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # joined callers see it; without any, the loop must not complain
            raise
        finally:
            del self._in_flight[request.digest]
        future.set_result(call)
        return call

    def decode_together(self, requests: list[Request]) -> None:
        """Let `answer` decode `requests` in batches, in the order given, where the backend can; else they stay alone.

        A batch's composition can touch its last digits. So a batch of which anything is asked and missing is decoded
        whole, and an answer depends on this list alone: not on what of it is known already, or asked at all.
        """
        for start in range(0, len(requests) if self.batch > 1 else 0, self.batch):
            batch = requests[start : start + self.batch]
            for request in batch:
                self._batches.setdefault(request.digest, batch)

    async def _make(self, request: Request, priority: int) -> Call:
        with ExitStack() as held:
            async with self._slots.hold(priority):  # free again before the answer is written
                known = self._ledger.get(request.digest)  # another job may have asked while this one waited
                if known is not None:
                    self._count(known)
                    return known
                if self.usage.purse:
                    held.enter_context(self.usage.purse.hold(self._most(request)))
                if self._paid:
                    self._paid.start(self.name)
                completion, tries, seconds = await self._completed(request)
            usd = self._cost(completion.prompt_tokens, completion.completion_tokens)
            self._ledger.append(request, self.name, completion, Bill(usd, seconds, tries))
            call = _call(request, completion, usd)
            self._count(call)
        return call

    async def _completed(self, request: Request) -> tuple[Completion, int, float]:
        """The completion of `request`, the number of tries and the seconds: out of its batch where it has one."""
        async with self._decoding:
            if request.digest in self._batches:
                await self._decode(self._batches[request.digest])
        if request.digest in self._decoded:
            return self._decoded.pop(request.digest)
        started = time.monotonic()
        completion, tries = await self._backend.complete(request)
        return completion, tries, time.monotonic() - started

    async def _decode(self, batch: list[Request]) -> None:
        """Decode a batch and keep what came for those that ask; one that cannot be decoded is left to go one by one."""
        started = time.monotonic()
        try:
            completions = await asyncio.to_thread(self._backend.complete_batch, batch)
        except CallError:  # one prompt does not fit: it alone is to fail
            completions = []
        seconds = (time.monotonic() - started) / len(batch)
        own = [request.digest for request in batch if self._batches.get(request.digest) is batch]
        found = {r.digest: (completion, 1, seconds) for r, completion in zip(batch, completions, strict=False)}
        self._decoded.update((digest, found[digest]) for digest in own if digest in found)
        for digest in own:
            self._batches.pop(digest, None)

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

    def _most(self, request: Request) -> Sum:
        """What a call may take: the whole of `max_tokens`, and a token for two characters of the prompt."""
        characters = sum(len(content) for _, content in request.messages)
        prompt, answer = characters // 2, request.sampling["max_tokens"]
        return cost(prompt + answer, self._cost(prompt, answer))

    def close(self) -> None:
        """Free the backend."""
        self._backend.close()


def _call(request: Request, completion: Completion, usd: float | None) -> Call:
    """A call that was just made."""
    return Call(
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
