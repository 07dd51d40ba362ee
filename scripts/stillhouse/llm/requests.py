"""Requests and their identity: the digest of everything that can change the answer, and of nothing else."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from stillhouse.provenance.digests import canonical_json, digest_json, seed_from
from stillhouse.study.base import Sampling

Message = dict[str, Any]
PLAIN = {"role", "content"}
"""Keys of a message that is text alone."""


@dataclass(frozen=True)
class Request:
    """One completion that is wanted.

    `model` is the identity of the model (backend and weights' sha256, or the name at the provider), never
    its URL, key or price. `index` tells apart the same request wanted several times, as by a retry. `messages` are
    role and text; where one holds more (calls of tools, parts), `whole` has them all as they were given.
    """

    model: dict[str, Any]
    messages: tuple[tuple[str, str], ...]
    sampling: dict[str, Any]
    grammar: str | None = None
    index: int = 0
    whole: tuple[Message, ...] | None = None
    tools: list[dict[str, Any]] | None = None

    @cached_property
    def digest(self) -> str:
        """64 hex digits: the call's identity and its key in the ledger."""
        return digest_json(self.payload())

    def payload(self) -> dict[str, Any]:
        """Everything that the identity covers, as plain JSON types."""
        return {
            "model": self.model,
            "messages": self.chat(),
            "sampling": self.sampling,
            "grammar": self.grammar,
            "index": self.index,
            **({"tools": self.tools} if self.tools else {}),
        }

    def chat(self) -> list[Message]:
        """The messages as chat APIs take them."""
        if self.whole is not None:
            return list(self.whole)
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class Completion:
    """What a backend answered, before the ledger: text without reasoning, and the bill."""

    text: str
    finish_reason: str
    reasoning: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    served_model: str | None = None
    flags: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Call:
    """A request with its answer, as the ledger holds it."""

    digest: str
    text: str
    finish_reason: str
    reasoning: str | None
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    replayed: bool
    served_model: str | None = None

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut off by `max_tokens`."""
        return self.finish_reason == "length"


class Backend(Protocol):
    """What runs a request. Implementations: `llama_cpp`, `openai`, `recorded`, and adapters on their base.

    `grammars` says whether GBNF reaches the model; one that takes JSON schemas says so by `schemas` = True.
    """

    identity: dict[str, Any]
    grammars: bool
    concurrency: int

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """Answer `request`; also the number of tries it took. Raises `CallError` when it fails for good."""
        ...

    def close(self) -> None:
        """Free what the backend holds."""
        ...


def make_request(
    identity: dict[str, Any],
    messages: list[Message],
    sampling: Sampling,
    *,
    seed_parts: tuple[object, ...],
    grammar: str | None = None,
    index: int = 0,
    tools: list[dict[str, Any]] | None = None,
) -> Request:
    """Build a request whose seed derives from the study's seed and `seed_parts` (prompt_id, role, round ...).

    Messages and `tools` reach the server as they are; those of text alone have the identity that they always had.
    """
    settings = sampling.model_dump(exclude_none=True)
    settings["seed"] = seed_from(sampling.seed, *seed_parts, index)
    return Request(
        model=identity,
        messages=tuple((message["role"], text_of(message)) for message in messages),
        sampling=settings,
        grammar=grammar,
        index=index,
        whole=None if all(map(is_plain, messages)) else tuple(messages),
        tools=tools or None,
    )


def is_plain(message: Message) -> bool:
    """Whether a message is a role and a text, and nothing else."""
    return message.keys() == PLAIN and isinstance(message["content"], str)


def text_of(message: Message) -> str:
    """The text of a message; of one that holds more, all of it as JSON."""
    if is_plain(message):
        return message["content"]
    return canonical_json({key: value for key, value in message.items() if key != "role"})
