"""Preference pairs out of tournament transcripts: what the panel preferred over what it did not."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stillhouse.datasets.filters import holds_think_tag
from stillhouse.datasets.rows import Example, Row
from stillhouse.study.datasets import Pairs


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, `margin` Borda points apart in `round` (counted from 1; 0: no tournament)."""

    round: int
    chosen: str
    rejected: str
    chosen_candidate: str
    rejected_candidate: str
    margin: int


@dataclass
class Paired:
    """Examples made, the rows that gave none, and the pairs that were looked at and dropped, by reason."""

    examples: list[Example] = field(default_factory=list)
    without: list[Row] = field(default_factory=list)
    considered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def make_pairs(rows: list[Row], settings: Pairs) -> Paired:
    """Make the preference examples of `rows` (all of one source)."""
    result = Paired()
    for row in rows:
        found = _candidates(row, settings)
        kept = _sift(found, settings.min_margin, result.dropped)
        result.considered += len(found)
        result.examples.extend(_example(row, pair) for pair in kept)
        if not kept:
            result.without.append(row)
    return result


def _candidates(row: Row, settings: Pairs) -> list[Pair]:
    rounds = json.loads(row.data["transcript"])["rounds"]
    return [_against_draft(row, rounds)] if settings.rejected == "draft" else list(_against_losers(rounds))


def _against_losers(rounds: list[dict[str, Any]]) -> Iterator[Pair]:
    """In each round the winner against each candidate that it met."""
    for one in rounds:
        winner, texts = one["winner"], one["candidates"]
        for loser in sorted(set(texts) - {winner}):
            yield Pair(one["round"], texts[winner], texts[loser], winner, loser, _lead(one, loser))


def _against_draft(row: Row, rounds: list[dict[str, Any]]) -> Pair:
    """The final answer against the first draft.

    The two need not have met. Their margin is the sum of the steps between them: in each round, the points by
    which the winner led that round's incumbent, A.
    """
    margin = sum(_lead(one, "A") for one in rounds if one["winner"] != "A")
    return Pair(len(rounds), row.data["answer"], row.data["draft"], "final", "draft", margin)


def _lead(one: dict[str, Any], loser: str) -> int:
    return int(one["borda"].get(one["winner"], 0)) - int(one["borda"].get(loser, 0))


def _sift(pairs: list[Pair], min_margin: int, dropped: Counter[str]) -> list[Pair]:
    """The pairs worth training on; counts the others by reason."""
    kept: dict[tuple[str, str], Pair] = {}
    opposed = {(pair.rejected.strip(), pair.chosen.strip()) for pair in pairs if pair.margin >= max(min_margin, 1)}
    for pair in pairs:
        sides = (pair.chosen.strip(), pair.rejected.strip())
        reason = _fault(pair, sides, min_margin)
        if not reason and sides in kept:
            reason = "duplicate_pair"
        if not reason and sides in opposed:
            reason = "contradicted"
        if reason:
            dropped[reason] += 1
        else:
            kept[sides] = pair
    return list(kept.values())


def _fault(pair: Pair, sides: tuple[str, str], min_margin: int) -> str | None:
    if not all(sides):
        return "empty_side"
    if sides[0] == sides[1]:
        return "same_text"
    if any(map(holds_think_tag, sides)):
        return "think_tag"
    return "min_margin" if pair.margin < min_margin else None


def _example(row: Row, pair: Pair) -> Example:
    columns = {
        **row.ancestry(),
        "prompt": row.prompt.chat(),
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        "round": pair.round,
        "chosen_candidate": pair.chosen_candidate,
        "rejected_candidate": pair.rejected_candidate,
        "margin": pair.margin,
    }
    place = (row.prompt.set, row.prompt.id, pair.round, pair.rejected_candidate, row.data["answer"])
    return Example(row.source, row.prompt.prompt_id, place, columns)
