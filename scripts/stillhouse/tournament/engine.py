"""AutoReason tournaments: incumbent A, critique, adversarial B, conservative synthesis AB, a blind panel.

The method is that of Hadron's AutoReason: every role has a fresh context, judges see the three candidates
under shuffled labels, points are counted after Borda, and an incumbent that defends its place `convergence`
times in a row has converged. Candidates that are equal to the byte stand before the panel as one.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from stillhouse.errors import CallError
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call, Message
from stillhouse.provenance.digests import seed_from
from stillhouse.tournament.ranking import (
    borda,
    groups_of,
    parse_ranking,
    ranking_grammar,
    shuffled_labels,
    winner,
)
from stillhouse.tournament.roles import Templates, no_flaws
from stillhouse.tournament.settings import ShardSettings

JUDGE_TOKENS_IN_FORM = 24
TRIES = 2
"""How often a text is asked for that comes back empty or cut off."""


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
    """One prompt's way to its answer; `calls` lists digests in the order of the method, not of completion.

    `retrying` asks further for texts that came back empty every time in an earlier run; `on_round` hears of each round.
    """

    def __init__(
        self,
        row: dict[str, Any],
        messages: list[Message],
        models: Models,
        settings: ShardSettings,
        texts: Texts,
        retrying: bool = False,
        on_round: Callable[[], None] = lambda: None,
    ):
        self.row, self.messages, self.models, self.settings, self.texts = row, messages, models, settings, texts
        self.calls: list[str] = []
        self.teacher = settings.teacher(row)
        self._retrying, self._on_round = retrying, on_round
        # the prompts that are least advanced go first: all keep step, and slots stay full until the last round ends
        self._step = 0

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
            self._on_round()
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
        texts = {name: candidate.text for name, candidate in candidates.items()}
        return {**round_, "candidates": texts, **await self._judged(texts, number)}, candidates

    async def _judged(self, texts: dict[str, str], number: int) -> dict[str, Any]:
        """The panel's votes on `texts`, the points and the winner."""
        rules = self.settings.tournament
        groups = [[name] for name in texts] if rules.every_vote else groups_of(texts)
        if len(groups) == 1:
            note = "B and AB equal A: no vote can change that"
            return {"votes": [], "borda": {}, "winner": "A", "note": note, "saved": rules.judges}
        self._step += 1
        shown = {group[0]: texts[group[0]] for group in groups}
        panel = [self._vote(shown, number, judge) for judge in range(rules.judges)]
        votes = await asyncio.gather(*panel, return_exceptions=True)
        self.calls.extend(vote["call"] for vote in votes if isinstance(vote, dict))
        for error in votes:  # raised only now: no vote goes on by itself, and the first judge's error is told
            if isinstance(error, BaseException):
                raise error
        return _count(votes, groups)

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
        client = self.models[self.teacher if role == "teacher" else self.settings.role(role)]
        sampling, best, asked, raw = self.settings.sampling, None, 0, ""
        self._step += 1
        for index in itertools.count():
            if index >= TRIES and best:
                break
            parts = (self.row["prompt_id"], role, number)
            request = client.request(messages, sampling, seed_parts=parts, grammar=grammar, index=index)
            # further tries that an earlier run has paid for count; new ones are made only when that was asked for
            new = not client.knows(request)
            if new and index >= TRIES and not (self._retrying and asked < TRIES):
                break
            asked += new
            try:
                call = await client.answer(request, self._step)
            except CallError as error:
                if best:  # a server may refuse twice the tokens: the cut-off text is kept
                    break
                raise StageError(role, str(error), None, index + 1) from error
            self.calls.append(call.digest)
            best, raw = (call, raw) if call.text else (best, call.reasoning or "")
            if call.text and not call.truncated:
                break
            if call.truncated and sampling is self.settings.sampling:
                sampling = sampling.model_copy(update={"max_tokens": sampling.max_tokens * 2})
        if best is None:
            raise StageError(role, "empty answer", raw, index)
        return Candidate(best.text, best)

    async def _vote(self, shown: dict[str, str], number: int, judge: int) -> dict[str, Any]:
        """One judge's ranking of the texts `shown`, by candidate, under labels of its own."""
        name = self.settings.judge(judge)
        client = self.models[name]
        seed = seed_from(self.settings.sampling.seed, self.row["prompt_id"], "labels", number, judge)
        labels = shuffled_labels(seed, list(shown))
        held = self.settings.tournament.judge_form and client.grammars
        changes = {"max_tokens": JUDGE_TOKENS_IN_FORM} if held else {}
        request = client.request(
            self._role_messages("judge", {"answers": {label: shown[name] for label, name in labels.items()}}),
            self.settings.sampling.model_copy(update=changes),
            seed_parts=(self.row["prompt_id"], "judge", number, judge),
            grammar=ranking_grammar(list(labels)) if held else None,
        )
        try:
            call = await client.answer(request, self._step)
        except CallError as error:
            raise StageError("judge", str(error), None, 1) from error
        order = parse_ranking(call.text, list(labels))
        return {
            "judge": judge,
            "model": name,
            "labels": labels,
            "ranking": [labels[label] for label in order] if order else None,
            "raw": call.text,
            "call": call.digest,
        }


def _count(votes: list[dict[str, Any]], groups: list[list[str]]) -> dict[str, Any]:
    """Votes, points and winner; where half or fewer of the votes parse, A stays and the note says so.

    Equal candidates share a place and its points.
    """
    parsed = [vote["ranking"] for vote in votes if vote["ranking"]]
    points = borda(parsed, [group[0] for group in groups])
    shared = {name: points[group[0]] for group in groups for name in group}
    enough = 2 * len(parsed) > len(votes)
    note = None if enough else f"only {len(parsed)} of {len(votes)} votes could be read: A stays"
    return {"votes": votes, "borda": shared, "winner": winner(shared) if enough else "A", "note": note}
