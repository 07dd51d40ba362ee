"""AutoReason tournaments: incumbent A, critique, adversarial B, conservative synthesis AB, a blind panel.

The method is that of Hadron's AutoReason: every role has a fresh context, judges see the three candidates
under shuffled labels, points are counted after Borda, and an incumbent that defends its place `convergence`
times in a row has converged.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from stillhouse.errors import CallError
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call, Message
from stillhouse.provenance.digests import seed_from
from stillhouse.tournament.ranking import GRAMMAR, LABELS, borda, parse_ranking, shuffled_labels, winner
from stillhouse.tournament.roles import Templates, no_flaws
from stillhouse.tournament.settings import ShardSettings

JUDGE_TOKENS_IN_FORM = 24


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
    """The files of a generation, read: teacher's system prompt and grammar, templates of the other roles."""

    system: str | None = None
    grammar: str | None = None
    templates: Templates | None = None


@dataclass
class Outcome:
    """What one prompt came to."""

    answer: str
    draft: str
    reasoning: str | None
    truncated: bool
    answer_call: str
    converged: bool | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """A text in the running, with the call that wrote it."""

    text: str
    call: Call


class Contest:
    """One prompt's way to its answer; `calls` lists digests in the order of the method, not of completion."""

    def __init__(
        self, row: dict[str, Any], messages: list[Message], models: Models, settings: ShardSettings, texts: Texts
    ):
        self.row, self.messages, self.models, self.settings, self.texts = row, messages, models, settings, texts
        self.calls: list[str] = []

    async def run(self) -> Outcome:
        """Answer the prompt by the generation's method; raises `StageError`."""
        draft = await self._write("teacher", self._teacher_messages(), 0, self.texts.grammar)
        outcome = Outcome(
            answer=draft.text,
            draft=draft.text,
            reasoning=draft.call.reasoning,
            truncated=draft.call.truncated,
            answer_call=draft.call.digest,
        )
        if self.settings.method == "tournament":
            await self._tournament(draft, outcome)
        return outcome

    def _teacher_messages(self) -> list[Message]:
        own = [m for m in self.messages if m["role"] != "system"] if self.texts.system else self.messages
        return [{"role": "system", "content": self.texts.system}, *own] if self.texts.system else own

    async def _tournament(self, incumbent: Candidate, outcome: Outcome) -> None:
        rules, defences = self.settings.tournament, 0
        for number in range(1, rules.max_rounds + 1):
            round_, candidates = await self._round(incumbent, number)
            outcome.rounds.append(round_)
            if round_["winner"] == "A":
                defences += 1
            else:
                incumbent, defences = candidates[round_["winner"]], 0
            if defences >= rules.convergence:
                break
        outcome.converged = defences >= rules.convergence
        outcome.answer, outcome.reasoning = incumbent.text, incumbent.call.reasoning
        outcome.truncated, outcome.answer_call = incumbent.call.truncated, incumbent.call.digest

    async def _round(self, incumbent: Candidate, number: int) -> tuple[dict[str, Any], dict[str, Candidate]]:
        critique = await self._ask("critic", {"answer": incumbent.text}, number)
        round_ = {"round": number, "critique": critique.text, "no_flaws": no_flaws(critique.text), "note": None}
        if round_["no_flaws"]:
            return {**round_, "candidates": {"A": incumbent.text}, "votes": [], "borda": {}, "winner": "A"}, {}
        revised = await self._revise("author", {"answer": incumbent.text, "critique": critique.text}, number)
        merged = await self._revise("synthesizer", {"answer": incumbent.text, "revision": revised.text}, number)
        candidates = {"A": incumbent, "B": revised, "AB": merged}
        votes = await asyncio.gather(*self._panel(candidates, number), return_exceptions=True)
        self.calls.extend(vote["call"] for vote in votes if isinstance(vote, dict))
        for error in votes:  # raised only now: no vote goes on by itself, and the first judge's error is told
            if isinstance(error, BaseException):
                raise error
        return {**round_, "candidates": {k: c.text for k, c in candidates.items()}, **_count(votes)}, candidates

    async def _revise(self, role: str, values: dict[str, str], number: int) -> Candidate:
        """B and AB keep the teacher's form: its system prompt and grammar hold for them too."""
        messages = self._role_messages(role, values)
        if self.texts.system:
            messages = [{"role": "system", "content": self.texts.system}, *messages]
        return await self._write(role, messages, number, self.texts.grammar)

    def _role_messages(self, role: str, values: dict[str, Any]) -> list[Message]:
        return self.texts.templates.messages(role, prompt=self.row["prompt"], **values)

    async def _ask(self, role: str, values: dict[str, str], number: int) -> Call:
        candidate = await self._write(role, self._role_messages(role, values), number, None)
        return candidate.call

    async def _write(self, role: str, messages: list[Message], number: int, grammar: str | None) -> Candidate:
        """One text by `role`; an empty or cut-off one is asked for once more, with more tokens if it was cut off.

        Raises `StageError` when it is empty again. A text that is still cut off is kept and marked.
        """
        client, sampling = self.models[self.settings.role(role)], self.settings.sampling
        call = best = None
        for attempt in range(2):
            if call is not None and call.truncated:
                sampling = sampling.model_copy(update={"max_tokens": sampling.max_tokens * 2})
            try:
                call = await client.ask(
                    messages,
                    sampling,
                    seed_parts=(self.row["prompt_id"], role, number),
                    grammar=grammar,
                    index=attempt,
                )
            except CallError as error:
                raise StageError(role, str(error), None, attempt + 1) from error
            self.calls.append(call.digest)
            best = call if call.text else best
            if call.text and not call.truncated:
                break
        if best is None:
            raise StageError(role, "empty answer", "", 2)
        return Candidate(best.text, best)

    def _panel(self, candidates: dict[str, Candidate], number: int) -> list[Any]:
        return [self._vote(candidates, number, judge) for judge in range(self.settings.tournament.judges)]

    async def _vote(self, candidates: dict[str, Candidate], number: int, judge: int) -> dict[str, Any]:
        name = self.settings.judge(judge)
        client = self.models[name]
        labels = shuffled_labels(seed_from(self.settings.sampling.seed, self.row["prompt_id"], "labels", number, judge))
        shown = {label: candidates[candidate].text for label, candidate in labels.items()}
        held = self.settings.tournament.judge_form and client.grammars
        changes = {"max_tokens": JUDGE_TOKENS_IN_FORM} if held else {}
        sampling = self.settings.sampling.model_copy(update=changes)
        try:
            call = await client.ask(
                self._role_messages("judge", {"answers": shown}),
                sampling,
                seed_parts=(self.row["prompt_id"], "judge", number, judge),
                grammar=GRAMMAR if held else None,
            )
        except CallError as error:
            raise StageError("judge", str(error), None, 1) from error
        order = parse_ranking(call.text, LABELS)
        return {
            "judge": judge,
            "model": name,
            "labels": labels,
            "ranking": [labels[label] for label in order] if order else None,
            "raw": call.text,
            "call": call.digest,
        }


def _count(votes: list[dict[str, Any]]) -> dict[str, Any]:
    """Votes, points and winner; where half or fewer of the votes parse, A stays and the note says so."""
    parsed = [vote["ranking"] for vote in votes if vote["ranking"]]
    points = borda(parsed)
    enough = 2 * len(parsed) > len(votes)
    note = None if enough else f"only {len(parsed)} of {len(votes)} votes could be read: A stays"
    return {"votes": votes, "borda": points, "winner": winner(points) if enough else "A", "note": note}
