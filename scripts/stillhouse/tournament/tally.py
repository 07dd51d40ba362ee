"""Counts over the prompts of a generation, or of one of its categories."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import fsum
from statistics import median
from typing import Any

from stillhouse.tournament.votes import DIGITS, enough, labelled_votes, share

Row = dict[str, Any]
ROLES = ("teacher", "partner", "critic", "author", "synthesizer", "judge")


@dataclass
class Ratios:
    """Lengths in words before and after, of texts that stand for one another."""

    before: int = 0
    after: int = 0
    ratios: list[float] = field(default_factory=list)

    def add(self, before: str, after: str) -> None:
        """One pair of texts; without a word before there is no ratio."""
        earlier, later = len(before.split()), len(after.split())
        self.before += earlier
        self.after += later
        if earlier:
            self.ratios.append(later / earlier)

    def plain(self) -> dict[str, Any]:
        """`n` ratios after / before with median and mean, and the share of texts that grew."""
        values = sorted(self.ratios)
        return {
            "n": len(values),
            "words_before": self.before,
            "words_after": self.after,
            "median": round(median(values), DIGITS) if values else None,
            "mean": share(fsum(values), len(values)),
            "longer": share(sum(value > 1 for value in values), len(values)),
        }


class Tally:
    """Adds rows of answers and failures; `contest` tells a tournament from a single pass."""

    def __init__(self, contest: bool) -> None:
        self._contest = contest
        self._prompts = self._answered = self._truncated = self._words = self._unchanged = 0
        self._failed: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._converged: Counter[bool] = Counter()
        self._outcomes: dict[int, Counter[str]] = defaultdict(Counter)
        self._critiques: Counter[str] = Counter()
        self._votes: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._growth = Ratios()
        self._by_winner: dict[str, Ratios] = defaultdict(Ratios)

    def fail(self, row: Row) -> None:
        """One answer that was not to be had."""
        self._prompts += is_first(row)
        self._failed[row["stage"]] += 1
        self._calls["failed_prompts"] += len(row["calls"] or ())

    def add(self, row: Row, transcript: Row) -> None:
        """One answer with its transcript: the rounds of a tournament, the turns of a dialogue."""
        rounds = transcript["rounds"]
        self._prompts += is_first(row)
        self._answered += 1
        self._truncated += bool(row["truncated"])
        self._words += len(row["answer"].split())
        self._count_calls(row, rounds, transcript.get("turns"))
        if not self._contest:
            return
        self._unchanged += row["answer"] == row["draft"]
        self._lengths[len(rounds)] += 1
        self._converged[bool(row["converged"])] += 1
        self._growth.add(row["draft"], row["answer"])
        for one in rounds:
            self._round(one)

    def _round(self, one: Row) -> None:
        self._critiques["all"] += 1
        self._critiques["no_flaws"] += one["no_flaws"]
        self._outcomes[one["round"]][outcome(one)] += 1
        self._calls["saved"] += one.get("saved") or 0
        votes = one["votes"]
        self._votes["asked"] += len(votes)
        self._votes["read"] += sum(bool(vote["ranking"]) for vote in votes)
        if not votes or not enough(votes):
            return
        self._votes["rounds"] += 1
        # candidates with one text share its points: that is no tie
        points = sorted({text: one["borda"][name] for name, text in one["candidates"].items()}.values(), reverse=True)
        self._votes["tied"] += len(points) > 1 and points[0] == points[1]
        if one["winner"] != "A":
            self._by_winner[one["winner"]].add(one["candidates"]["A"], one["candidates"][one["winner"]])
        self._longest(one)

    def _longest(self, one: Row) -> None:
        """Does the longest candidate win? Counted where one is longer than all others."""
        words = {text: len(text.split()) for text in one["candidates"].values()}
        longest = [text for text, count in words.items() if count == max(words.values())]
        if len(longest) == 1 and len(words) > 1:
            self._votes["one_longest"] += 1
            self._votes["longest_won"] += longest[0] == one["candidates"][one["winner"]]

    def _count_calls(self, row: Row, rounds: list[Row], turns: list[Row] | None) -> None:
        """Calls by role as the transcript tells them; what is left over are second attempts."""
        partner = sum(turn["speaker"] == "partner" for turn in turns or ())
        teacher = len(turns) - partner if turns else 1
        revised = [one for one in rounds if not one["no_flaws"]]
        votes = sum(len(labelled_votes(one)) for one in rounds)
        counts = (teacher, partner, len(rounds), len(revised), len(revised), votes)
        found = dict(zip(ROLES, counts, strict=True))
        self._calls.update(found)
        self._calls["all"] += len(row["calls"])
        self._calls["second_attempts"] += max(0, len(row["calls"]) - sum(found.values()))

    def plain(self) -> dict[str, Any]:
        """The figures as report.json has them."""
        failed = sum(self._failed.values())
        found = {
            "prompts": self._prompts,
            "rows": self._answered + failed,
            "answered": self._answered,
            "failed": failed,
            "failed_by_stage": dict(sorted(self._failed.items())),
            "truncated": self._truncated,
            "words": share(self._words, self._answered),
            "calls": self._told_calls(),
        }
        return {**found, **self._told_contest()} if self._contest else found

    def _told_calls(self) -> dict[str, Any]:
        calls = self._calls
        made = calls["all"] + calls["failed_prompts"]
        return {
            "all": made,
            "by_role": {role: calls[role] for role in ROLES if calls[role]},
            "second_attempts": calls["second_attempts"],
            "failed_prompts": calls["failed_prompts"],
            "saved": calls["saved"],
            "per_prompt": share(made, self._prompts),
        }

    def _told_contest(self) -> dict[str, Any]:
        votes, rounds = self._votes, [self._outcomes[number] for number in sorted(self._outcomes)]
        whole = sum(rounds, Counter())
        return {
            "rounds": [{"rounds": number, "prompts": self._lengths[number]} for number in sorted(self._lengths)],
            "converged": self._converged[True],
            "not_converged": self._converged[False],
            "unchanged": self._unchanged,
            "critiques": self._critiques["all"],
            "no_flaws": self._critiques["no_flaws"],
            "outcomes": {name: whole[name] for name in OUTCOMES},
            "by_round": [{name: one[name] for name in OUTCOMES} for one in rounds],
            "votes": {"asked": votes["asked"], "read": votes["read"]},
            "judged_rounds": votes["rounds"],
            "tied_rounds": votes["tied"],
            "longest": {"rounds": votes["one_longest"], "won": votes["longest_won"]},
            "growth": self._growth.plain(),
            "growth_by_winner": {
                name: self._by_winner[name].plain() for name in ("AB", "B") if name in self._by_winner
            },
        }


def is_first(row: Row) -> bool:
    """Whether a row is the first sample of its prompt: every prompt has one, answered or failed."""
    return not row.get("sample")


OUTCOMES = ("no_flaws", "equal", "unread", "A", "AB", "B")
"""How a round ended: no flaws found, nothing to choose between, too few votes read, or who won the panel's vote."""


def outcome(one: Row) -> str:
    """Which of `OUTCOMES` a round of a transcript had."""
    if one["no_flaws"]:
        return "no_flaws"
    if not one["votes"]:
        return "equal"
    return one["winner"] if enough(one["votes"]) else "unread"
