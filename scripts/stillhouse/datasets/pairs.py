"""Preference pairs: what was preferred over what was not, by a panel of judges or as teacher over another model.

Answers of the student or the base to the same prompts, rejected against the teacher's, keep preference training
near what the trained model itself would say (on-policy; Guo et al. 2024, arXiv 2402.04792).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stillhouse.datasets.examples import (
    TOOLS,
    Answer,
    Example,
    Format,
    FormatContext,
    Made,
    asked,
    is_unread,
    rounds_of,
)
from stillhouse.datasets.filters.texts import holds_think_tag
from stillhouse.datasets.messages import answer_message, tool_call
from stillhouse.datasets.text import jaccard, shingles
from stillhouse.study.datasets import Fallback, Pairs

SHINGLE_WORDS = 3
OTHER = "other"
"""Name of another generation's answer, beside those of a round's candidates."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt.

    `margin` is in Borda points, None where no panel compared the two; `round` counts from 1 (0: no tournament);
    `unread` where too few votes could be read for a verdict.
    """

    round: int
    chosen: str
    rejected: str
    chosen_candidate: str
    rejected_candidate: str
    margin: int | None
    source: str
    unread: bool = False

    @property
    def sides(self) -> tuple[str, str]:
        """Chosen and rejected, as texts for comparing."""
        return self.chosen.strip(), self.rejected.strip()


def preference_examples(row: Answer, context: FormatContext) -> Made:
    """The pairs of the first place for rejected answers, in the study's order, that yields a sound one.

    What was looked at in vain before counts as dropped: `missing` (there is no such answer), `empty_side`,
    `same_text`, `think_tag`, `tool_call`, `unread`, `min_margin`, `too_similar`, `chosen_filtered` and
    `rejected_filtered` (what the source's filters drop), `duplicate_pair`, `contradicted`.
    """
    settings, dropped, considered = context.settings.pairs, Counter[str](), 0
    judged: set[tuple[str, str]] = set()
    for place in settings.order:
        found = _pairs(row, place, context)
        own = {pair.sides for pair in found if _is_judged(pair, settings)}
        kept = _sift(found, own, lambda pair: _fault(pair, settings) or _filtered(pair, row, context), dropped)
        judged |= own
        considered += max(len(found), 1)
        if not found:
            dropped["missing"] += 1
        if kept:
            start = asked(row)
            return Made([_example(start, pair) for pair in kept], dropped, considered, frozenset(judged))
    return Made([], dropped, considered, frozenset(judged))


def _pairs(row: Answer, place: Fallback, context: FormatContext) -> list[Pair]:
    rounds = rounds_of(row)
    if place == "losers":
        return list(_against_losers(rounds))
    if place == "draft":
        return [_against_draft(row, rounds)] if rounds else []
    return _against_other(row, len(rounds), place.generation, context)


def _against_losers(rounds: list[dict[str, Any]]) -> Iterator[Pair]:
    """In each round the winner against each candidate that it met."""
    for one in rounds:
        winner, texts = one["winner"], one["candidates"]
        for loser in sorted(set(texts) - {winner}):
            lead, unread = _lead(one, loser), is_unread(one)
            yield Pair(one["round"], texts[winner], texts[loser], winner, loser, lead, "losers", unread)


def _against_draft(row: Answer, rounds: list[dict[str, Any]]) -> Pair:
    """The final answer against the first draft.

    The two need not have met. Their margin is the sum of the steps between them: in each round, the points by
    which the winner led that round's incumbent, A.
    """
    margin = sum(_lead(one, "A") for one in rounds)
    return Pair(len(rounds), row["answer"], row["draft"] or "", "final", "draft", margin, "draft")


def _against_other(row: Answer, rounds: int, generation: str, context: FormatContext) -> list[Pair]:
    """The final answer against another generation's to the same prompt: its own sample, else the first one.

    None for a dialogue, whose last answer is one to all that was said before and not to the prompt alone.
    """
    if row["method"] == "dialogue":
        return []
    answers, prompt = context.others.get(generation, {}), row["prompt_id"]
    other = answers.get((prompt, row.get("sample") or 0), answers.get((prompt, 0)))
    source = f"generation:{generation}"
    return [] if other is None else [Pair(rounds, row["answer"], other, "final", OTHER, None, source)]


def _lead(one: dict[str, Any], loser: str) -> int:
    return int(one["borda"].get(one["winner"], 0)) - int(one["borda"].get(loser, 0))


def _is_judged(pair: Pair, settings: Pairs) -> bool:
    """Whether a panel preferred the chosen side, by as many points as the study asks for and not by none."""
    return not pair.unread and pair.margin is not None and pair.margin >= max(settings.min_margin, 1)


def _sift(
    pairs: list[Pair],
    judged: Set[tuple[str, str]],
    fault_of: Callable[[Pair], str | None],
    dropped: Counter[str],
) -> list[Pair]:
    """The pairs worth training on; counts the others by reason."""
    kept: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        reason = fault_of(pair)
        if not reason and pair.sides in kept:
            reason = "duplicate_pair"
        if not reason and pair.sides[::-1] in judged:
            reason = "contradicted"
        if reason:
            dropped[reason] += 1
        else:
            kept[pair.sides] = pair
    return list(kept.values())


def _fault(pair: Pair, settings: Pairs) -> str | None:
    chosen, rejected = pair.sides
    if not chosen or not rejected:
        return "empty_side"
    if chosen == rejected:
        return "same_text"
    if holds_think_tag(chosen) or holds_think_tag(rejected):
        return "think_tag"
    if tool_call(chosen) or tool_call(rejected):
        return "tool_call"
    if pair.unread:
        return "unread"
    if pair.margin is not None and pair.margin < settings.min_margin:
        return "min_margin"
    return "too_similar" if _too_similar(chosen, rejected, settings.max_similarity) else None


def _filtered(pair: Pair, row: Answer, context: FormatContext) -> str | None:
    """Whether the source's filters drop a side that they did not see as the row's answer.

    Of the rejected side, what must not leave the house: it is there to be unlearnt, whatever else is wrong with it.
    The row's own candidates were searched for that with the row, and its answer has passed all of them.
    """
    if pair.chosen != row["answer"] and not context.checks.may_be_chosen(pair.chosen, row):
        return "chosen_filtered"
    if pair.rejected_candidate == OTHER and not context.checks.may_be_rejected(pair.rejected):
        return "rejected_filtered"
    return None


def _too_similar(chosen: str, rejected: str, most: float | None) -> bool:
    """Whether the Jaccard similarity of the sides' word shingles is above `most`."""
    return most is not None and jaccard(shingles(chosen, SHINGLE_WORDS), shingles(rejected, SHINGLE_WORDS)) > most


def _example(start: Example, pair: Pair) -> Example:
    return {
        **start,
        "chosen": answer_message(pair.chosen),
        "rejected": answer_message(pair.rejected),
        "round": pair.round,
        "chosen_candidate": pair.chosen_candidate,
        "rejected_candidate": pair.rejected_candidate,
        "margin": pair.margin,
        "rejected_source": pair.source,
    }


PREFERENCE = Format(
    name="preference",
    turns=("prompt", "chosen", "rejected"),
    facts=(
        TOOLS,
        pa.field("round", pa.int32()),
        pa.field("chosen_candidate", pa.string()),
        pa.field("rejected_candidate", pa.string()),
        pa.field("margin", pa.int32()),
        pa.field("rejected_source", pa.string()),
    ),
    columns=("messages", "answer", "tools", "draft", "transcript", "method"),
    without="no_pair",
    unit="pairs",
    examples=preference_examples,
)
