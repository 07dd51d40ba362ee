"""What the votes of a tournament are worth: do judges agree, and do they vote for a place rather than a text?"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt
from typing import Any

Row = dict[str, Any]
Z = 1.959964
"""Quantile of the normal distribution for 95 %."""
DIGITS = 6


def enough(votes: list[Row]) -> bool:
    """Whether more than half of the votes could be read, so that they decide the round."""
    return 2 * sum(bool(vote["ranking"]) for vote in votes) > len(votes)


def labelled_votes(one: Row) -> list[Row]:
    """The votes of a round that cost a call."""
    return [vote for vote in one["votes"] if vote.get("call")]


@dataclass
class Agreement:
    """Pairs of readable votes in the same rounds."""

    pairs: int = 0
    same_first: int = 0
    ordered: int = 0
    concordant: int = 0
    rounds: int = 0
    unanimous: int = 0

    def add(self, rankings: list[list[str]]) -> None:
        """The readable rankings of one round."""
        if len(rankings) < 2:
            return
        self.rounds += 1
        self.unanimous += len({ranking[0] for ranking in rankings}) == 1
        for one, other in combinations(rankings, 2):
            self.pairs += 1
            self.same_first += one[0] == other[0]
            for above, below in combinations(one, 2):
                if above in other and below in other:
                    self.ordered += 1
                    self.concordant += other.index(above) < other.index(below)

    def plain(self) -> dict[str, Any]:
        """Shares; `tau` is Kendall's over all pairs of votes: 1 same order, 0 what chance gives, -1 reversed."""
        ordered = self.ordered
        return {
            "pairs": self.pairs,
            "same_first": share(self.same_first, self.pairs),
            "tau": round(2 * self.concordant / ordered - 1, DIGITS) if ordered else None,
            "rounds": self.rounds,
            "unanimous": share(self.unanimous, self.rounds),
        }


@dataclass
class Places:
    """Which label stood at the top of a judge's votes."""

    asked: int = 0
    read: int = 0
    tops: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, vote: Row) -> None:
        """One vote, readable or not."""
        self.asked += 1
        self.read += bool(vote["ranking"])
        label = _top(vote)
        if label is not None:
            self.tops[len(vote["labels"])][label] += 1

    def plain(self) -> dict[str, Any]:
        """Votes, and for each number of labels shown how often each label came first; X1 with its interval."""
        return {"asked": self.asked, "read": self.read, "places": [_place(n, self.tops[n]) for n in sorted(self.tops)]}


class Votes:
    """Adds the rounds of transcripts: agreement over all judges, taste for a place by judging model."""

    def __init__(self) -> None:
        self._agreement = Agreement()
        self._places: dict[str, Places] = defaultdict(Places)

    def add(self, rounds: list[Row]) -> None:
        """The rounds of one prompt."""
        for one in rounds:
            self._agreement.add([vote["ranking"] for vote in one["votes"] if vote["ranking"]])
            for vote in one["votes"]:
                self._places[vote["model"]].add(vote)

    def plain(self) -> dict[str, Any]:
        """As report.json has it."""
        return {
            "agreement": self._agreement.plain(),
            "by_model": {name: self._places[name].plain() for name in sorted(self._places)},
        }


def _top(vote: Row) -> str | None:
    """The label of the candidate that a vote puts first, None where it could not be read."""
    if not vote["ranking"]:
        return None
    return next((label for label, name in sorted(vote["labels"].items()) if name == vote["ranking"][0]), None)


def _place(labels: int, tops: Counter[str]) -> dict[str, Any]:
    votes, names = sum(tops.values()), [f"X{number}" for number in range(1, labels + 1)]
    return {
        "labels": labels,
        "votes": votes,
        "first": {name: tops[name] for name in names},
        "x1": share(tops["X1"], votes),
        "x1_interval": wilson(tops["X1"], votes),
        "fair": round(1 / labels, DIGITS),
    }


def wilson(part: int, whole: int) -> list[float] | None:
    """The 95 % interval of a share after Wilson (1927), which takes observations as independent."""
    if not whole:
        return None
    middle = (part + Z**2 / 2) / (whole + Z**2)
    half = Z / (whole + Z**2) * sqrt(part * (whole - part) / whole + Z**2 / 4)
    return [round(max(middle - half, 0.0), DIGITS), round(min(middle + half, 1.0), DIGITS)]


def share(part: float, whole: int) -> float | None:
    """`part` of `whole`, None of nothing; six digits, so that no file hangs on the last bit of a sum."""
    return round(part / whole, DIGITS) if whole else None
