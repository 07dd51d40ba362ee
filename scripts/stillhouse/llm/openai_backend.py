"""Any OpenAI-compatible chat endpoint: the official client, within the model's limits, with retries of what may pass."""

import asyncio
import datetime
import email.utils
import json
import logging
import math
import os
import random
import time
from typing import Any

import httpx2
import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from stillhouse.errors import CallError, LimitError, ServerError, StudyError
from stillhouse.llm.limits import Pace, RequestsToday, quota
from stillhouse.llm.overload import AdaptiveSlots, Health
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.running import run_async
from stillhouse.llm.structured import TAKES_GBNF, TAKES_SCHEMAS, body_of
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.models import OpenAIModel

logger = logging.getLogger(__name__)

RETRIED_STATUS = {408, 409, 429}
OVERLOADED = {429, 503, 529}
REFUSED_KEY = {401, 402, 403}
"""No key, no credit, no access: every further prompt would fail alike. A 403 may also be a moderated prompt."""
MODERATED = ("moderation", "flagged")
MAX_RETRY_AFTER_S = 120.0
FAIR_TRIES = 3
"""Failures beside others' answers that it takes to blame a request: an outage has two edges, and each may look so once."""
OBEYED = 2
"""So often a Retry-After alone decides."""
LONGEST_BESIDE_ANSWERS_S = 2.0
WORDS = 400
"""Characters of a server's error that are told."""
PING = json.dumps([{"role": "user", "content": "ping"}])


class MalformedAnswerError(Exception):
    """A 200 whose body is no chat completion; tried again."""


RETRIED = (openai.APIConnectionError, TimeoutError, MalformedAnswerError)


class OpenAIBackend:
    """One model at one endpoint, `name` in the study.

    `slots` is this job's part of the model's concurrency (None: all of it), and with it of the other limits, so that
    all jobs of a run together stay within them. `always` stands in the body of every request; `direct` goes past any
    proxy of the environment, to a server of this job.
    """

    def __init__(
        self,
        model: OpenAIModel,
        identity: dict[str, Any],
        *,
        name: str,
        slots: int | None = None,
        always: dict[str, Any] | None = None,
        direct: bool = False,
    ) -> None:
        self.identity = identity
        self._always = always or {}
        self.grammars, self.schemas = model.structured in TAKES_GBNF, model.structured in TAKES_SCHEMAS
        self._model, self._name = model, name
        self._secret = _key(model)
        share = quota(model.limits, slots)
        self.concurrency = share.concurrency
        logger.info("%s: %d of %d slots", name, share.concurrency, model.limits.concurrency)
        self._health = Health(name, model.give_up_s)
        self._slots = AdaptiveSlots(share.concurrency)
        self._pace = Pace(share, sleep=self._health.sleep)
        self._today = RequestsToday(name, model.limits.requests_per_day)
        room = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30.0)
        self._client = openai.AsyncOpenAI(
            base_url=model.base_url,
            api_key=self._secret,
            max_retries=0,
            timeout=None,  # the whole try has one, in `_once`
            http_client=openai.DefaultAioHttpClient(limits=room, trust_env=not direct),
        )
        self._leaving = asyncio.Lock()

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """Ask, with retries of what may pass.

        Raises `CallError` with the server's words when this request fails for good, `ServerError` when all would, and
        `LimitError` when the day's requests are used up.
        """
        tries = _Tries(self._health.answers)
        body = json.dumps({**body_of(request, self._model), **self._always}).encode()
        tokens = _estimate(request)
        try:
            try:
                return await self._try(body, tokens, tries), 1
            except (openai.APIStatusError, *RETRIED) as error:
                if not may_pass(error):
                    raise
                return await self._retry(error, body, tokens, tries), tries.made
        except openai.APIStatusError as error:
            if error.status_code in REFUSED_KEY and not self._only_this_prompt(error):
                self._health.stop(ServerError(f"{self._name}: the server refuses the key: {self._words(error)}"))
            raise CallError(f"{self._name}: {self._words(error)} (after {tries.made} tries)") from None
        except (openai.OpenAIError, *RETRIED) as error:
            raise CallError(f"{self._name}: {self._words(error)} (after {tries.made} tries)") from None

    async def _retry(self, first: Exception, body: bytes, tokens: int, tries: "_Tries") -> Completion:
        """Go on after the first try failed; tenacity comes in only here, since it would cost every call CPU time."""
        failed = [first]

        async def again() -> Completion:
            if failed:
                raise failed.pop()
            return await self._try(body, tokens, tries)

        retrying = AsyncRetrying(
            retry=retry_if_exception(may_pass),
            stop=tries.used_up,
            wait=self._wait,
            sleep=self._health.sleep,
            reraise=True,
        )
        return await retrying(again)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds until the next try: what the server asked for, else exponential, both with jitter.

        While the server answers others a long wait would only hold a slot. One that refuses again and again although it
        was obeyed is given the longer of both.
        """
        backoff = _backoff(state)
        if self._health.failures <= self.concurrency:
            backoff = min(backoff, random.uniform(0.0, LONGEST_BESIDE_ANSWERS_S))
        asked = retry_after(state.outcome.exception() if state.outcome else None)
        if asked is None:
            return backoff
        obeyed = asked + random.uniform(0.0, 0.1 * asked)
        return obeyed if state.attempt_number <= OBEYED else max(backoff, obeyed)

    def _only_this_prompt(self, error: openai.APIStatusError) -> bool:
        """Whether a refusal may be about the prompt: providers answer 403 to what their moderation flags."""
        words = self._words(error).lower()
        return error.status_code == 403 and (self._health.answers > 0 or any(word in words for word in MODERATED))

    async def _try(self, body: bytes, tokens: int, tries: "_Tries") -> Completion:
        """One try; after `max_tries` without any answer to others, the server has to show first that it is there."""
        self._health.check()
        try:
            if tries.made >= self._model.max_tries and self._health.answers == tries.answers:
                await self._probe()
            tries.made += 1
            return await self._once(body, tokens)
        except BaseException as error:
            if may_pass(error):
                words = self._words(error)
                logger.warning("try %d failed: %s", tries.made, words)
                tries.failed(self._health.answers, self._model.max_tries)
                self._health.failed(words)
            elif _code(error) == "insufficient_quota":
                self._health.stop(ServerError(f"{self._name}: {self._words(error)}"))
            raise

    async def _probe(self) -> None:
        """Ask for one token: a server that gives it is there, and one that refuses it too."""
        probe = f'{{"model": {json.dumps(self._model.model)}, "messages": {PING}, "max_tokens": 1}}'
        try:
            await self._once(probe.encode(), 1)
        except openai.APIStatusError as error:
            if may_pass(error):
                raise
            self._health.answered()

    async def _once(self, body: bytes, tokens: int) -> Completion:
        """One HTTP request, within slots and pace."""
        await self._slots.take()
        try:
            paced = await self._pace.start(tokens)
            self._count_today()
            await self._leave()
            started = self._slots.begin()
            try:
                async with asyncio.timeout(self._model.timeout_s):
                    answer = await self._client.post(
                        "/chat/completions", content=body, cast_to=httpx2.Response, options=JSON
                    )
                completion = parse(answer.content)
            except BaseException as error:
                self._overloaded(error, started)
                raise
            used = completion.prompt_tokens + completion.completion_tokens
            self._pace.settle(paced, used or tokens)
            self._slots.answered(started, (completion.prompt_tokens, completion.completion_tokens))
            self._health.answered()
            return completion
        finally:
            self._slots.give_back()

    def _count_today(self) -> None:
        """Count a request of the day; where none is left all that wait end at once."""
        try:
            self._today.count()
        except LimitError as error:
            self._health.stop(error)

    async def _leave(self) -> None:
        """Let requests go out one after the other.

        Those that may start in the same moment would take each step of the client in turn, and all leave late.
        """
        await self._leaving.acquire()
        asyncio.get_running_loop().call_soon(self._leaving.release)

    def _overloaded(self, error: BaseException, started: float) -> None:
        """Ask less of a server that says, or shows by a time-out, that it has too much to do."""
        if isinstance(error, TimeoutError):
            self._slots.refused(started)
        if isinstance(error, openai.APIStatusError) and error.status_code in OVERLOADED:
            self._slots.refused(started)
            if error.status_code == 429 and self._slots.refusing:
                self._pace.hold(retry_after(error) or 0.0)

    def _words(self, error: BaseException) -> str:
        """The error in one line, without the key, which some servers repeat."""
        told = str(error)
        if isinstance(error, TimeoutError):
            told = f"the request timed out after {self._model.timeout_s:g} s"
        elif isinstance(error, openai.APIConnectionError) and error.__cause__:
            told = f"connection error: {error.__cause__}"  # the client calls some of them a time-out
        told = told.replace(self._secret, "***") if self._model.api_key_env else told
        return " ".join(told.split())[:WORDS]

    def close(self) -> None:
        """Close all connections."""
        run_async(self._client.close())


JSON: Any = {"headers": {"Content-Type": "application/json"}}


class _Tries:
    """The tries of one call, and how many of them failed while the server answered others."""

    def __init__(self, answers: int) -> None:
        self.made = self.fair = 0
        self.answers = answers
        self._most = 1

    def failed(self, answers: int, most: int) -> None:
        """A try failed, when the server had given `answers` good answers in all; `most` tries are allowed."""
        self.fair += answers > self.answers
        self.answers, self._most = answers, most

    def used_up(self, _: RetryCallState) -> bool:
        """Tenacity's stop: enough tries, some of them while others were answered, so that it is this request's fault."""
        return self.made >= self._most and self.fair >= min(FAIR_TRIES, self._most)


def parse(data: bytes) -> Completion:
    """The completion in the body of a 200; raises `MalformedAnswerError` when it holds none."""
    try:
        answer = json.loads(data)
        choice = answer["choices"][0]
        message, usage = choice["message"], answer.get("usage") or {}
        if choice.get("error") or choice.get("finish_reason") == "error":
            raise MalformedAnswerError(f"the server's answer is an error: {choice.get('error') or answer}")
        finish = str(choice.get("finish_reason") or "stop")
        split = split_reasoning(_plain(message.get("content")), truncated=finish == "length")
        thoughts = [_plain(message.get("reasoning_content")) or _plain(message.get("reasoning")), split.reasoning]
        served = answer.get("model")
        return Completion(
            text=_with_calls(split.answer, message.get("tool_calls")),
            finish_reason=finish,
            reasoning="\n\n".join(filter(None, thoughts)) or None,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            served_model=served if isinstance(served, str) else None,
            flags=split.flags,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        told = data.decode("utf-8", "replace")
        raise MalformedAnswerError(f"the server's answer is not a chat completion with choices: {told}") from error


def _with_calls(text: str, calls: Any) -> str:
    """An answer that calls tools, as JSON `{"content"?, "tool_calls"}`: a row's answer is text; else the text."""
    if not calls:
        return text
    return canonical_json({**({"content": text} if text else {}), "tool_calls": calls})


def _plain(content: Any) -> str:
    """Text of a message, which may come in parts; halves of surrogate pairs become `?`."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError("content is no text")
    return (content or "").encode("utf-8", "replace").decode()


def _key(model: OpenAIModel) -> str:
    """The key out of the environment; local servers want none, but the client library does."""
    if model.api_key_env is None:
        return "none"
    key = os.environ.get(model.api_key_env, "").strip()
    if not key:
        raise StudyError(f"model {model.model}: set the environment variable {model.api_key_env} to your API key")
    if not (key.isascii() and key.isprintable()):
        raise StudyError(
            f"model {model.model}: the environment variable {model.api_key_env} holds no key that can be sent"
        )
    return key


def _estimate(request: Request) -> int:
    """Tokens that a request may take: four characters of the prompt each, and the longest answer."""
    return sum(len(content) for _, content in request.messages) // 4 + request.sampling["max_tokens"]


def _code(error: BaseException) -> str | None:
    """The error's kind in the words of OpenAI's API."""
    body = getattr(error, "body", None)
    kinds = [body.get("code"), body.get("type")] if isinstance(body, dict) else []
    return next((kind for kind in kinds if isinstance(kind, str) and kind == "insufficient_quota"), None)


def may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed: time-outs, dropped connections, 408, 409, 429, 5xx, malformed answers."""
    if isinstance(error, openai.APIStatusError):
        passing = error.status_code in RETRIED_STATUS or error.status_code >= 500
        return passing and _code(error) != "insufficient_quota"
    return isinstance(error, RETRIED)


_backoff = wait_random_exponential(multiplier=0.5, max=30)


def retry_after(error: BaseException | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110: a number or a date), at most `MAX_RETRY_AFTER_S`; None without one."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    told = headers.get("retry-after", "").strip()
    try:
        seconds = float(told)
    except ValueError:
        there, here = _date(told), _date(headers.get("date", ""))
        seconds = math.nan if there is None else there - (time.time() if here is None else here)
    return min(MAX_RETRY_AFTER_S, seconds) if seconds > 0 else None


def _date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date."""
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
