"""Expansion: a model fills the placeholders of seed templates in each domain into so many concrete prompts.

All pairs of template and domain are asked beside each other, in rounds: a reply is judged only when the round is over,
in a fixed order, so that which of two alike prompts stays does not hang on who answered first. What is missing is asked
for again in the next round, with what exists already.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.errors import CallError, FailureShareError
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call
from stillhouse.llm.running import gather
from stillhouse.prompts.expand_files import Instructions, Seed, normal_form, slug
from stillhouse.prompts.expand_replies import fault, no_prompts, read_reply
from stillhouse.provenance.digests import digest_json
from stillhouse.study.base import Name, Sampling, Section

logger = logging.getLogger(__name__)

EXCERPT = 200
FORMAT = 1
MAX_SHARE = 0.05
"""Share of pairs that may be short for failed calls, as `failures.max_share` of generations."""

NAMED = 10
"""Pairs that an error names, at most."""

Row = dict[str, Any]


class ExpandRules(Section):
    """How many prompts of each template in each domain, by which model, and which of them are used."""

    per: int
    model: Name
    sampling: Sampling
    min_words: int
    max_words: int
    attempts: int
    domains: list[str] | None = None


class ExpandSettings(Section):
    """A prompt set that a model writes."""

    set: Name
    expand: ExpandRules


@dataclass
class Pair:
    """One template in one domain: what was kept of it (prompt, digest of its call), and what was not and why."""

    seed: Seed
    domain: str
    kept: list[tuple[str, str]] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    asked: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The pair in words."""
        return f"template {self.seed.id} in domain {self.domain!r}"

    @property
    def order(self) -> str:
        """What decides who goes first, whatever the order of the files."""
        return digest_json([self.seed.text, self.domain])

    @property
    def found(self) -> list[str]:
        """Prompts that the model should not write again."""
        return [*(prompt for prompt, _ in self.kept), *self.alike]

    def reject(self, reason: str, text: str) -> None:
        """Count what cannot be used; the first one of each reason is kept as an example."""
        self.rejected[reason] += 1
        self.examples.setdefault(reason, text[:EXCERPT])

    def rows(self) -> Iterator[Row]:
        """The prompts as lines of a prompt file."""
        for number, (prompt, call) in enumerate(self.kept, start=1):
            category = {} if self.seed.category is None else {"category": self.seed.category}
            own = {"id": f"{self.seed.id}.{slug(self.domain)}.{number}", "prompt": prompt, **category}
            yield {**self.seed.others, **own, "template": self.seed.id, "domain": self.domain, "call": call}

    def shortfall(self, wanted: int) -> Row:
        """What is missing, and why."""
        reasons = [
            {"reason": reason, "count": count, "first": self.examples[reason]}
            for reason, count in sorted(self.rejected.items())
        ]
        about = {"template": self.seed.id, "domain": self.domain, "wanted": wanted, "got": len(self.kept)}
        return {**about, "attempts": self.asked, "rejected": reasons}


@dataclass(frozen=True)
class Reply:
    """What came of one request: its text, and the call or what went wrong."""

    request: str
    call: Call | None = None
    error: str = ""


class Expansion:
    """Asks for the prompts of all pairs, through the ledger.

    Raises `CallError` when no pair has any in the end, and `FailureShareError` when failed calls left too many short.
    """

    def __init__(
        self, seeds: list[Seed], domains: list[str], client: Client, settings: ExpandSettings, words: Instructions
    ) -> None:
        self.pairs = [Pair(seed, domain) for seed in seeds for domain in domains]
        self._client, self._rules, self._set, self._words = client, settings.expand, settings.set, words
        self._seen: set[str] = set()

    def run(self) -> None:
        """Ask, and ask again for what is missing, `attempts` times at most. Raises as the class says."""
        for attempt in range(self._rules.attempts):
            short = sorted(
                (pair for pair in self.pairs if len(pair.kept) < self._rules.per), key=lambda pair: pair.order
            )
            if not short:
                break
            where = f"{self._set} attempt {attempt + 1}"
            replies = gather((self._ask(pair, attempt) for pair in short), description=where, total=len(short))
            for pair, reply in zip(short, replies, strict=True):
                self._take(pair, reply)
        if not any(pair.kept for pair in self.pairs):
            told = self.pairs[0].shortfall(self._rules.per)["rejected"]
            raise CallError(f"prompt set {self._set}: no prompt could be used of any template; the first pair: {told}")
        self._check_calls()

    def _check_calls(self) -> None:
        """Refuse a set of which failed calls took more than some pairs: it would be another set than was asked for."""
        failed = [pair for pair in self.pairs if len(pair.kept) < self._rules.per and "call_failed" in pair.rejected]
        if len(failed) <= MAX_SHARE * len(self.pairs):
            return
        named = "; ".join(f"{pair.name}: {pair.examples['call_failed']}" for pair in failed[:NAMED])
        more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        raise FailureShareError(
            f"prompt set {self._set}: calls failed for {len(failed)} of {len(self.pairs)} pairs, more than {MAX_SHARE:.0%}: "
            f"{named}{more}. What was answered is kept: the same command asks for the missing ones only"
        )

    async def _ask(self, pair: Pair, attempt: int) -> Reply:
        """One request for what is missing; an error is told, and the other pairs go on."""
        rules = self._rules
        messages = self._words.messages(pair.seed, pair.domain, rules.per - len(pair.kept), pair.found)
        parts = ("expand", digest_json([pair.seed.text, pair.domain])[:16])
        request = messages[0]["content"]
        try:
            call = await self._client.ask(messages, rules.sampling, seed_parts=parts, index=attempt)
        except CallError as error:
            logger.warning("template %s, domain %s: %s", pair.seed.id, pair.domain, error)
            return Reply(request, error=str(error))
        return Reply(request, call)

    def _take(self, pair: Pair, reply: Reply) -> None:
        """Keep what can be used of a reply, up to what is wanted."""
        pair.asked += 1
        if reply.call is None:
            pair.reject("call_failed", reply.error)
            return
        wanted = self._rules.per - len(pair.kept)
        prompts, request = read_reply(reply.call.text, wanted), normal_form(reply.request)
        if not prompts:
            pair.reject(no_prompts(reply.call.text), reply.call.text)
        for place, prompt in enumerate(prompts, start=1):
            if len(pair.kept) == self._rules.per:
                return
            cut = reply.call.truncated and place == len(prompts)
            reason = "cut_off" if cut else self._fault(pair, prompt, request)
            if reason is not None:
                pair.reject(reason, prompt)
                continue
            self._seen.add(normal_form(prompt))
            pair.kept.append((prompt, reply.call.digest))

    def _fault(self, pair: Pair, prompt: str, request: str) -> str | None:
        """Why a prompt is not kept: by itself, for its like in the set, or as a part of what the model was told."""
        reason, form = fault(prompt, pair.seed, self._rules.min_words, self._rules.max_words), normal_form(prompt)
        if reason is None and form in self._seen:
            if form not in map(normal_form, pair.found):
                pair.alike.append(prompt)
            return "duplicate"
        return "echo" if reason is None and f" {form} " in f" {request} " else reason

    def rows(self) -> list[Row]:
        """All prompts, by template and domain in the order of the files."""
        return [row for pair in self.pairs for row in pair.rows()]

    def report(self) -> Row:
        """Sums, and every pair that has fewer prompts than it should."""
        short = [pair for pair in self.pairs if len(pair.kept) < self._rules.per]
        return {
            "format": FORMAT,
            "set": self._set,
            "pairs": len(self.pairs),
            "wanted": len(self.pairs) * self._rules.per,
            "got": sum(len(pair.kept) for pair in self.pairs),
            "requests": sum(pair.asked for pair in self.pairs),
            "rejected": dict(sorted(sum((pair.rejected for pair in self.pairs), Counter()).items())),
            "shortfalls": [pair.shortfall(self._rules.per) for pair in short],
        }


def expand(
    seeds: list[Seed], domains: list[str], client: Client, settings: ExpandSettings, instructions: Path
) -> tuple[list[Row], Row]:
    """The prompts as lines of a prompt file, and the report with its shortfalls.

    Each line has `id`, `prompt`, `category` where its template has one, `template`, `domain`, `call` (digest) and the
    template's other keys. Raises `InputError` for bad instructions, `CallError` when nothing could be used at all,
    `FailureShareError` when the calls of too many pairs failed, and `StopError` where a run must stop: what was answered
    is in the ledger.
    """
    expansion = Expansion(seeds, domains, client, settings, Instructions(instructions))
    expansion.run()
    report = expansion.report()
    if report["shortfalls"]:
        missing = report["wanted"] - report["got"]
        logger.warning("set %s: %d of %d prompts are missing", settings.set, missing, report["wanted"])
    return expansion.rows(), report
