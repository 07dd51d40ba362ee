"""Realises the shares of the sources: whole sources are taken as they are, shared ones are sampled to fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from stillhouse.datasets.rows import Example, rank
from stillhouse.errors import InputError


@dataclass(frozen=True)
class Mix:
    """`counts`: rows to take of each source, in order. `short`: rows that a share wanted and its source lacks."""

    counts: list[int]
    short: dict[int, int]


def plan_mix(available: Sequence[int], shares: Sequence[float | None]) -> Mix:
    """How many rows to take of each source, given how many it has and the share of the whole that it shall make.

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


def sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` of the examples by a seeded hash of their prompts: one more row moves at most one other out."""
    ordered = sorted(examples, key=lambda one: (rank(seed, "mix", one.prompt_id), one.key))
    return ordered[:count]
