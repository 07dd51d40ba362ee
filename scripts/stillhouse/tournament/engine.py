"""AutoReason tournaments: incumbent A, critique, adversarial B, conservative synthesis AB, a blind panel.

The method is that of Hadron's AutoReason: every role has a fresh context, judges see the three candidates
under shuffled labels, points are counted after Borda, and an incumbent that defends its place `convergence`
times in a row has converged. Candidates that are equal to the byte stand before the panel as one.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from stillhouse.errors import CallError
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
from stillhouse.tournament.roles import no_flaws
from stillhouse.tournament.settings import ShardSettings
from stillhouse.tournament.writing import Ask, Candidate, Models, Outcome, StageError, Texts, Writer

JUDGE_TOKENS_IN_FORM = 24


class Contest(Writer):
    """One prompt's way to its answer, by a single pass or a tournament; `on_round` hears of each round."""

    def __init__(
        self,
        row: dict[str, Any],
        models: Models,
        settings: ShardSettings,
        texts: Texts,
        sample: int = 0,
        retrying: bool = False,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(row, models, settings, texts, sample, retrying)
        self._on_round, self._question = on_round, ""

    async def run(self) -> Outcome:
        """Answer the prompt by the generation's method; raises `StageError`."""
        contested = self.settings.method == "tournament"
        self._question = self.shown() if contested else ""
        self.prepare()
        draft, outcome = await self.draft()
        if contested:
            await self._tournament(draft, outcome)
        return outcome

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
        self.step += 1
        shown = {group[0]: texts[group[0]] for group in groups}
        panel = [self._vote(shown, number, judge) for judge in range(rules.judges)]
        votes = await asyncio.gather(*panel, return_exceptions=True)
        self.calls.extend(vote["call"] for vote in votes if isinstance(vote, dict))
        for error in votes:  # raised only now: no vote goes on by itself, and the first judge's error is told
            if isinstance(error, BaseException):
                raise error
        return _count(votes, groups)

    async def _revise(self, role: str, values: dict[str, str], number: int) -> Candidate:
        """B and AB keep the teacher's form: its system prompt or the prompt's own, passages and grammar hold too."""
        messages = [*self.systems, *self.briefed(self._role_messages(role, values))]
        return await self.write(Ask(role, self.settings.role(role), number, messages, self.texts.grammar))

    def _role_messages(self, role: str, values: dict[str, Any]) -> list[Message]:
        return self.texts.templates.messages(role, prompt=self._question, **values)

    async def _ask(self, role: str, values: dict[str, str], number: int) -> Call:
        ask = Ask(role, self.settings.role(role), number, self._role_messages(role, values))
        return (await self.write(ask)).call

    async def _vote(self, shown: dict[str, str], number: int, judge: int) -> dict[str, Any]:
        """One judge's ranking of the texts `shown`, by candidate, under labels of its own."""
        name = self.settings.judge(judge)
        client = self.models[name]
        seed = seed_from(self.settings.sampling.seed, *self.seed_parts("labels", number, judge))
        labels = shuffled_labels(seed, list(shown))
        held = self.settings.tournament.judge_form and client.grammars
        changes = {"max_tokens": JUDGE_TOKENS_IN_FORM} if held else {}
        request = client.request(
            self._role_messages("judge", {"answers": {label: shown[name] for label, name in labels.items()}}),
            self.settings.sampling.model_copy(update=changes),
            seed_parts=self.seed_parts("judge", number, judge),
            grammar=ranking_grammar(list(labels)) if held else None,
        )
        try:
            call = await client.answer(request, self.step)
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
