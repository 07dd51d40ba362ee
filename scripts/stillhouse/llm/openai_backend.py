"""Any OpenAI-compatible chat endpoint, with retries that honour Retry-After."""

import asyncio
import json
import logging
import os
import time
from typing import Any

import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from stillhouse.errors import CallError, StudyError
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Completion, Request
from stillhouse.study.models import OpenAIModel

logger = logging.getLogger(__name__)

RETRIED_STATUS = {408, 409, 429}
MAX_RETRY_AFTER_S = 120.0


class MalformedAnswerError(Exception):
    """A 200 whose body is no chat completion; tried again."""


RETRIED = (openai.APIConnectionError, openai.APIResponseValidationError, json.JSONDecodeError, MalformedAnswerError)


class OpenAIBackend:
    """One model at one endpoint.

    `share` is this job's part of the model's limits (1 / shards), so that all shards of a generation
    together stay within them.
    """

    grammars = False

    def __init__(self, model: OpenAIModel, identity: dict[str, Any], *, share: float = 1.0) -> None:
        self.identity = identity
        self.concurrency = max(1, int(model.limits.concurrency * share))
        self._model = model
        self._secret = _key(model)
        self._client = openai.AsyncOpenAI(
            base_url=model.base_url, api_key=self._secret, max_retries=0, timeout=model.timeout_s
        )
        per_minute = model.limits.requests_per_minute
        self._interval_s = 60.0 / (per_minute * share) if per_minute else 0.0
        self._next_start = 0.0

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """Ask, with retries of what may pass; raises `CallError` with the server's words otherwise."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(may_pass),
            stop=stop_after_attempt(self._model.max_tries),
            wait=self._wait,
            reraise=True,
        )
        tries = 0
        try:
            async for attempt in retrying:
                with attempt:
                    tries += 1
                    await self._pace()
                    return await self._once(request), tries
        except (openai.OpenAIError, json.JSONDecodeError, MalformedAnswerError) as error:
            raise CallError(f"{self._model.model}: {self._words(error)} (after {tries} tries)") from None
        raise CallError(f"{self._model.model}: no answer")

    def _wait(self, state: RetryCallState) -> float:
        """Seconds until the next try: what the server asked for, else exponential with jitter."""
        error = state.outcome.exception() if state.outcome else None
        logger.warning("try %d failed: %s", state.attempt_number, self._words(error))
        asked = _retry_after(error)
        return _backoff(state) if asked is None else asked

    def _words(self, error: BaseException | None) -> str:
        """The error's text without the key, which some servers repeat."""
        return str(error).replace(self._secret, "***") if self._model.api_key_env else str(error)

    async def _pace(self) -> None:
        """Start requests evenly spaced, so that any minute stays within the limit."""
        if self._interval_s:
            now = time.monotonic()
            self._next_start = max(now, self._next_start + self._interval_s)
            await asyncio.sleep(self._next_start - now)

    async def _once(self, request: Request) -> Completion:
        settings = dict(request.sampling)
        extra = {key: settings.pop(key) for key in ("top_k", "min_p") if key in settings}
        stop = settings.pop("stop") or None
        answer = await self._client.chat.completions.create(
            model=self._model.model,
            messages=request.chat(),
            extra_body=extra or None,
            **({"stop": stop} if stop else {}),
            **settings,
        )
        try:
            return _completion(answer)
        except (AttributeError, IndexError, TypeError) as error:
            told = getattr(answer, "error", None) or str(answer)[:200]
            raise MalformedAnswerError(f"the server's answer is not a chat completion with choices: {told}") from error

    def close(self) -> None:
        """Connections close with the process; the event loop may already be gone here."""


def _completion(answer: Any) -> Completion:
    choice = answer.choices[0]
    split = split_reasoning((choice.message.content or "").encode("utf-8", "replace").decode())
    extra = choice.message.model_extra or {}
    reasoning = extra.get("reasoning_content") or extra.get("reasoning") or split.reasoning
    usage = answer.usage
    return Completion(
        text=split.answer,
        finish_reason=choice.finish_reason or "stop",
        reasoning=reasoning,
        prompt_tokens=(usage.prompt_tokens or 0) if usage else 0,
        completion_tokens=(usage.completion_tokens or 0) if usage else 0,
        served_model=answer.model,
        flags=split.flags,
    )


def _key(model: OpenAIModel) -> str:
    """The key out of the environment; local servers want none, but the client library does."""
    if model.api_key_env is None:
        return "none"
    key = os.environ.get(model.api_key_env)
    if not key:
        raise StudyError(f"model {model.model}: set the environment variable {model.api_key_env} to your API key")
    return key


def may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed: time-outs, dropped connections, 408, 409, 429, 5xx, malformed answers."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in RETRIED_STATUS or error.status_code >= 500
    return isinstance(error, RETRIED)


_backoff = wait_random_exponential(multiplier=0.5, max=30)


def _retry_after(error: BaseException | None) -> float | None:
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        return min(MAX_RETRY_AFTER_S, max(0.0, float(error.response.headers["retry-after"])))
    except (KeyError, ValueError):
        return None
