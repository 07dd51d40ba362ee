"""Realises the shares of the sources: whole sources are taken as they are, shared ones are sampled to fit.

A row may stand in the dataset several times, and a fraction of the rows once more: the entries of the mix are the
copies of the examples that rows gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

from stillhouse.datasets.ranks import rank64
from stillhouse.errors import InputError


@dataclass(frozen=True)
class Mix:
    """`counts`: rows to take of each source, in order. `short`: rows that a share wanted and its source lacks."""

    counts: list[int]
    short: dict[int, int]


def plan_mix(available: Sequence[int], shares: Sequence[float | None]) -> Mix:
    """How many rows (or tokens) to take of each source, given how many it has and its share of the whole.

    Every share is met within one row. A source with too few rows gives them all; then the total shrinks, so
    that the other shares still hold. Raises `InputError` when shares sum to 1 or more, or leave no source
    that the total could be measured by.
    """
    wanted = {number: Fraction(str(share)) for number, share in enumerate(shares) if share is not None}
    _check(wanted, len(shares))
    counts = [0 if number in wanted else rows for number, rows in enumerate(available)]
    open_shares, short = dict(wanted), {}
    while open_shares:
        targets = _targets(sum(counts), open_shares)
        lacking = {number for number, count in targets.items() if count > available[number]}
        for number in sorted(lacking):
            counts[number] = available[number]
            short[number] = targets[number] - available[number]
            del open_shares[number]
        if not lacking:
            for number, count in targets.items():
                counts[number] = count
            break
    return Mix(counts, short)


def _check(wanted: Mapping[int, Fraction], sources: int) -> None:
    if sum(wanted.values()) >= 1:
        raise InputError(f"the sources' shares sum to {float(sum(wanted.values())):g}; they must sum to less than 1")
    if wanted and len(wanted) == sources:
        raise InputError("every source has a share; leave it out for at least one, which is then taken whole")


def _targets(fixed: int, shares: Mapping[int, Fraction]) -> dict[int, int]:
    """Rows of each shared source beside `fixed` others: quotas of the total, rounded by largest remainder.

    The total is the whole number next to fixed / (1 - sum of shares), so the quotas sum to within half a row
    of the rows to give out, and rounding moves none of them by a whole row.
    """
    total = floor(Fraction(fixed) / (1 - sum(shares.values())) + Fraction(1, 2))
    quotas = {number: share * total for number, share in shares.items()}
    counts = {number: floor(quota) for number, quota in quotas.items()}
    left = total - fixed - sum(counts.values())
    for number in sorted(quotas, key=lambda number: (counts[number] - quotas[number], number))[:left]:
        counts[number] += 1
    return counts


@dataclass(frozen=True)
class Offer:
    """Examples offered to the mix, one value each, in their total order."""

    source: np.ndarray
    keys: np.ndarray
    times: np.ndarray
    """How often each shall stand in the dataset."""
    weight: np.ndarray
    """What shares are shares of: 1, or the example's tokens."""


@dataclass(frozen=True)
class Taken:
    """What the mix took: the entries, each an example (its position in the offer) and which copy of it."""

    example: np.ndarray
    copy: np.ndarray
    over_limit: np.ndarray
    """Mask over the examples: left out by the source's limit."""
    thinned: np.ndarray
    """Mask over the examples: left out because they shall stand in the dataset less than once."""
    short: dict[int, int]
    """Rows or tokens that each source lacks for its share."""


def mix(offer: Offer, shares: Sequence[float | None], limits: Sequence[int | None], seed: int) -> Taken:
    """Choose entries: limits first, then repeats, then shares.

    All choices go by a seeded hash of the prompt, so one more example of a source moves at most one other of it out
    (with repeats, one other's copies). Raises `InputError` as `plan_mix` does.
    """
    limited = _over_limits(offer, limits, rank64(seed, "limit", offer.keys))
    copies = np.where(limited, 0, whole_copies(offer, ~limited, rank64(seed, "repeat", offer.keys)))
    example = np.repeat(np.arange(len(copies)), copies)
    copy = np.arange(len(example)) - np.repeat(np.cumsum(copies) - copies, copies)
    taken, short = _shared(offer, example, copy, shares, rank64(seed, "mix", offer.keys))
    return Taken(example[taken], copy[taken].astype(np.int32), limited, ~limited & (copies == 0), short)


def _over_limits(offer: Offer, limits: Sequence[int | None], ranks: np.ndarray) -> np.ndarray:
    over = np.zeros(len(ranks), bool)
    for number, limit in enumerate(limits):
        own = np.flatnonzero(offer.source == number)
        if limit is not None and len(own) > limit:
            over[own[np.argsort(ranks[own], kind="stable")[limit:]]] = True
    return over


def whole_copies(offer: Offer, among: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """int64: whole numbers of copies. Of the examples of a source that shall stand 2.5 times in it, the half with the
    smallest ranks stands there thrice, rounded to the nearest number of them."""
    copies = np.floor(offer.times).astype(np.int64)
    broken = np.flatnonzero(among & (copies != offer.times))
    if not len(broken):
        return copies
    order = broken[np.lexsort((ranks[broken], offer.times[broken], offer.source[broken]))]
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(offer.times[order]) != 0) | (np.diff(offer.source[order]) != 0)
    for group in np.split(order, np.flatnonzero(begins)[1:]):
        left = Fraction(str(offer.times[group[0]])) % 1
        copies[group[: floor(left * len(group) + Fraction(1, 2))]] += 1
    return copies


def _shared(
    offer: Offer, example: np.ndarray, copy: np.ndarray, shares: Sequence[float | None], ranks: np.ndarray
) -> tuple[np.ndarray, dict[int, int]]:
    """Mask of the entries that the shares take, and what sources lack. First copies come before second ones."""
    source, weight = offer.source[example], offer.weight[example].astype(np.int64)
    available = [int(weight[source == number].sum()) for number in range(len(shares))]
    plan = plan_mix(available, shares)
    taken = np.ones(len(example), bool)
    for number, (share, count) in enumerate(zip(shares, plan.counts, strict=True)):
        if share is None:
            continue
        own = np.flatnonzero(source == number)
        own = own[np.lexsort((ranks[example[own]], copy[own]))]
        taken[own[nearest(np.cumsum(weight[own]), count) :]] = False
    return taken, plan.short


def nearest(totals: np.ndarray, wanted: int) -> int:
    """How many of the first entries come nearest to `wanted`, given the running totals; the fewer of two alike."""
    number = int(np.searchsorted(totals, wanted))
    if number == len(totals):
        return number
    before = int(totals[number - 1]) if number else 0
    return number + (int(totals[number]) - wanted < wanted - before)
