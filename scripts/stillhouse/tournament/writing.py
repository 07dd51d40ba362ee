"""What every method of a generation shares: its texts, one text by one role with a second chance, and how it fails."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from stillhouse.errors import CallError
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call, Message, Request
from stillhouse.study.base import Sampling
from stillhouse.tournament.conversation import UnreadableError, told
from stillhouse.tournament.retrieval import Library, Passage, SourceError
from stillhouse.tournament.roles import Templates
from stillhouse.tournament.settings import ShardSettings

TEACHER = "teacher"
TRIES = 2
"""How often a text is asked for that comes back empty or cut off."""

CONTEXT = "context"
"""Stage of a prompt whose pinned sources cannot be given to the teacher."""

PROMPT = "prompt"
"""Stage of a prompt that a tournament's other roles cannot be shown."""


class Models(Protocol):
    """Clients by model name."""

    def __getitem__(self, name: str) -> Client: ...


class StageError(Exception):
    """One prompt cannot be answered: where, why, and what came back."""

    def __init__(self, stage: str, reason: str, raw: str | None, attempts: int) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage, self.reason, self.raw, self.attempts = stage, reason, raw, attempts


@dataclass(frozen=True)
class Texts:
    """The files of a generation, read.

    `system` and `grammar` are the teacher's, `templates` those of the tournament's other roles, `partner_system` is
    for the other side of a dialogue, `library` has the passages that go into the prompts of who writes answers.
    """

    system: str | None = None
    grammar: str | None = None
    templates: Templates | None = None
    partner_system: str | None = None
    library: Library | None = None


@dataclass
class Outcome:
    """What one prompt came to; `turns` are those of a dialogue, `messages` the conversation before the answer."""

    answer: str
    draft: str
    reasoning: str | None
    truncated: bool
    answer_call: str
    converged: bool | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    turns: list[dict[str, Any]] | None = None
    messages: list[Message] | None = None


@dataclass(frozen=True)
class Candidate:
    """A text in the running, with the call that wrote it."""

    text: str
    call: Call


@dataclass(frozen=True)
class Ask:
    """A text that is wanted: by which role and model, in which round or turn, to which messages, held by which form."""

    role: str
    model: str
    number: int
    messages: list[Message]
    grammar: str | None = None


class Writer:
    """Asks for one prompt's texts; the teacher has the prompt's tools; `calls` lists digests in the order of the method, not of completion.

    `sample` counts the answers to the same prompt: sample 0 asks what a generation without samples asks. With
    `retrying`, texts that came back empty every time in an earlier run are asked for further.
    """

    def __init__(
        self,
        row: dict[str, Any],
        models: Models,
        settings: ShardSettings,
        texts: Texts,
        sample: int = 0,
        retrying: bool = False,
    ) -> None:
        self.row, self.models, self.settings, self.texts, self.sample = row, models, settings, texts, sample
        self.messages: list[Message] = json.loads(row["messages"])
        self.tools: list[dict[str, Any]] | None = json.loads(row["tools"]) if row.get("tools") else None
        self.calls: list[str] = []
        self.passages: list[Passage] = []
        self.teacher = settings.teacher(row)
        self._retrying = retrying
        # the prompts that are least advanced go first: all keep step, and slots stay full until the last round ends
        self.step = 0

    def seed_parts(self, *parts: object) -> tuple[object, ...]:
        """What a seed derives from; those of sample 0 are the ones of a generation without samples."""
        return (self.row["prompt_id"], *parts, *(("sample", self.sample) if self.sample else ()))

    def prepare(self) -> None:
        """Find the prompt's passages; raises `StageError` when a pinned source cannot be given."""
        if self.texts.library is None:
            return
        try:
            self.passages = self.texts.library.passages(self.row)
        except SourceError as error:
            raise StageError(CONTEXT, str(error), None, 0) from error

    def briefed(self, messages: list[Message]) -> list[Message]:
        """`messages` with the passages in their last user turn; as they are where none was found."""
        if not self.passages:
            return messages
        last = max(place for place, message in enumerate(messages) if message["role"] == "user")
        content: Any = messages[last]["content"]
        if isinstance(content, str):
            content = self.texts.library.brief(content, self.passages)
        else:  # parts: the text comes first, briefed, and pictures and the like behind it
            text = self.texts.library.brief(self.row["prompt"], self.passages)
            content = [{"type": "text", "text": text}, *(part for part in content if part.get("type") != "text")]
        return [*messages[:last], {**messages[last], "content": content}, *messages[last + 1 :]]

    @property
    def systems(self) -> list[Message]:
        """The system messages that answers are written under: the teacher's own, or those of the prompt."""
        if self.texts.system:
            return [{"role": "system", "content": self.texts.system}]
        return [message for message in self.messages if message["role"] == "system"]

    @property
    def conversation(self) -> list[Message]:
        """The prompt's messages without a system message that the teacher's own stands in for."""
        return [message for message in self.messages if message["role"] != "system" or not self.texts.system]

    def teacher_messages(self) -> list[Message]:
        """The prompt as the teacher reads it: under its own system prompt where it has one, with the passages."""
        own = self.systems if self.texts.system else []
        return [*own, *self.briefed(self.conversation)]

    def shown(self) -> str:
        """The prompt as roles read it that see it from outside, one text.

        Raises `StageError` where there is no such text: for pictures, tools and calls of tools.
        """
        try:
            if self.tools:
                raise UnreadableError("the prompt has tools, which a tournament's other roles cannot be given")
            return told(self.conversation, self.row["prompt"])
        except UnreadableError as error:
            raise StageError(PROMPT, str(error), None, 0) from error

    async def draft(self) -> tuple[Candidate, Outcome]:
        """The teacher's answer to the prompt, and what it is worth as the outcome."""
        draft = await self.write(self._draft_ask())
        return draft, outcome_of(draft)

    def draft_request(self) -> Request:
        """What `draft` asks first; raises `StageError` when a pinned source cannot be given."""
        self.prepare()
        return self._request(self._draft_ask(), self.settings.sampling, 0)

    def _draft_ask(self) -> Ask:
        return Ask(TEACHER, self.teacher, 0, self.teacher_messages(), self.texts.grammar)

    def _request(self, ask: Ask, sampling: Sampling, index: int) -> Request:
        parts, tools = self.seed_parts(ask.role, ask.number), self.tools if ask.role == TEACHER else None
        return self.models[ask.model].request(
            ask.messages, sampling, seed_parts=parts, grammar=ask.grammar, index=index, tools=tools
        )

    async def write(self, ask: Ask) -> Candidate:
        """One text; an empty or cut-off one is asked for once more, with more tokens if it was cut off.

        Raises `StageError` when it is empty again. A text that is still cut off is kept and marked.
        """
        client = self.models[ask.model]
        sampling, best, asked, raw = self.settings.sampling, None, 0, ""
        self.step += 1
        for index in itertools.count():
            if index >= TRIES and best:
                break
            request = self._request(ask, sampling, index)
            # further tries that an earlier run has paid for count; new ones are made only when that was asked for
            new = not client.knows(request)
            if new and index >= TRIES and not (self._retrying and asked < TRIES):
                break
            asked += new
            try:
                call = await client.answer(request, self.step)
            except CallError as error:
                if best:  # a server may refuse twice the tokens: the cut-off text is kept
                    break
                raise StageError(ask.role, str(error), None, index + 1) from error
            self.calls.append(call.digest)
            best, raw = (call, raw) if call.text else (best, call.reasoning or "")
            if call.text and not call.truncated:
                break
            if call.truncated and sampling is self.settings.sampling:
                sampling = sampling.model_copy(update={"max_tokens": sampling.max_tokens * 2})
        if best is None:
            raise StageError(ask.role, "empty answer", raw, index)
        return Candidate(best.text, best)


def outcome_of(draft: Candidate) -> Outcome:
    """The outcome of a prompt whose answer is its first draft."""
    return Outcome(
        answer=draft.text,
        draft=draft.text,
        reasoning=draft.call.reasoning,
        truncated=draft.call.truncated,
        answer_call=draft.call.digest,
    )
