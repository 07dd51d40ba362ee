"""Dialogues: two models talk from a prompt, or one talks with itself, as in Foundry's self-interactions.

The prompt is the first thing that the partner says. Then the teacher answers as assistant, the partner goes on as the
user, and so in turn; the teacher speaks last. Each side sees the conversation from its own place: the partner reads
the prompt and its own turns as the assistant's, under a system prompt of its own.
"""

from typing import Any

from stillhouse.llm.requests import Message
from stillhouse.tournament.writing import TEACHER, Ask, Candidate, Outcome, Writer

PARTNER = "partner"
OPENING = "Begin the conversation."
"""What the partner is told before its first words: chat templates want a user's turn first."""

OTHER_SIDE = {"user": "assistant", "assistant": "user"}


class Dialogue(Writer):
    """One prompt's conversation."""

    async def run(self) -> Outcome:
        """Talk for the turns of the study; the answer is the last one. Raises `StageError`, which names the side."""
        self.prepare()
        said, told = await self.draft()
        spoken, turns = [said.text], [self._turn(1, said, 0)]
        for number in range(2, self.settings.dialogue.turns + 1):
            before = len(self.calls)
            said = await self._teacher(spoken, number) if number % 2 else await self._partner(spoken, number)
            spoken.append(said.text)
            turns.append(self._turn(number, said, before))
        told.answer = told.draft = said.text
        told.reasoning = said.call.reasoning
        told.truncated, told.answer_call = any(turn["truncated"] for turn in turns), said.call.digest
        told.turns, told.messages = turns, [*self.messages, *_spoken(spoken[:-1])]
        return told

    async def _teacher(self, spoken: list[str], number: int) -> Candidate:
        messages = [*self.teacher_messages(), *_spoken(spoken)]
        return await self.write(Ask(TEACHER, self.teacher, number - 1, messages, self.texts.grammar))

    async def _partner(self, spoken: list[str], number: int) -> Candidate:
        """The partner sees neither the teacher's system prompt nor the prompt's own, and no passages; nor calls of tools, parts or tools."""
        own = [m for m in self.messages if m["role"] in OTHER_SIDE and isinstance(m["content"], str)]
        seen = [{"role": OTHER_SIDE[m["role"]], "content": m["content"]} for m in [*own, *_spoken(spoken)]]
        system = [{"role": "system", "content": self.texts.partner_system}] if self.texts.partner_system else []
        opening = [{"role": "user", "content": OPENING}] if seen[0]["role"] == "assistant" else []
        return await self.write(Ask(PARTNER, self._partner_model(), number - 1, [*system, *opening, *seen]))

    def _partner_model(self) -> str:
        return self.settings.dialogue.partner or self.settings.model

    def _turn(self, number: int, said: Candidate, before: int) -> dict[str, Any]:
        """A turn as the transcript keeps it, with the calls that it took."""
        return {
            "turn": number,
            "speaker": TEACHER if number % 2 else PARTNER,
            "model": self.teacher if number % 2 else self._partner_model(),
            "text": said.text,
            "reasoning": said.call.reasoning,
            "truncated": said.call.truncated,
            "call": said.call.digest,
            "calls": self.calls[before:],
        }


def _spoken(texts: list[str]) -> list[Message]:
    """The turns after the prompt as chat messages: the teacher is the assistant."""
    return [{"role": "user" if place % 2 else "assistant", "content": text} for place, text in enumerate(texts)]
