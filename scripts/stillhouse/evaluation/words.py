"""The words of a verdict: they follow from an interval and a corrected p by the study's rules, never from a bare mean."""

from collections.abc import Sequence

from stillhouse.study.gates import Rules

WINS, LOSES, TIES, OPEN = "wins", "loses", "ties", "cannot tell"
NOISE = 0.5
"""Flip rate from which verdicts are noise."""
HAIR = 1e-9
"""What floating point may be off by where a number is exactly at its bound: 1 - 0.95 is a little more than 0.05."""


def word(
    interval: Sequence[float] | None,
    p_holm: float | None,
    rules: Rules,
    *,
    centre: float = 0.5,
    scale: float = 1.0,
    flip_rate: float | None = None,
) -> str:
    """`wins`, `loses`, `ties` or `cannot tell`.

    It wins where the interval lies above centre + margin and p_holm is below 1 - level, loses the other way round,
    and ties where the interval lies within centre -+ equivalence. For a difference the centre is 0 and `scale` the
    width of the measure's scale: 1 for rates, 9 for a rubric from 1 to 10. Without an interval nothing can be told.
    Verdicts of which half or more change with the order (`flip_rate`) show no tie either: a judge that always picks
    the first answer has a rate of exactly one half over any two subjects.
    """
    if interval is None:
        return OPEN
    low, high = (end - centre for end in interval)
    margin, near = rules.margin * scale, rules.equivalence * scale
    sure = p_holm is not None and p_holm < 1 - rules.level - HAIR
    if sure and low > margin + HAIR:
        return WINS
    if sure and high < -margin - HAIR:
        return LOSES
    near_enough = -near - HAIR <= low and high <= near + HAIR
    return TIES if near_enough and (flip_rate is None or flip_rate < NOISE) else OPEN
