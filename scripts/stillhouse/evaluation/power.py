"""What a comparison could have shown, and how many prompts it would take."""

import math

from scipy import optimize, stats

from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.statistics import LEVEL

POWER = 0.8
MOST = 10_000_000
"""More prompts than this are told as None: there is nothing to find."""


def detectable(deviation: float | None, prompts: int, *, power: float = POWER, level: float = LEVEL) -> float | None:
    """The smallest true difference that a two-sided t test over so many prompts finds with this power.

    `deviation` is the standard deviation of one prompt (`Estimate.deviation`), and the answer has its unit. None
    below two prompts or without spread: twelve equal outcomes say nothing about it.
    """
    if not deviation or prompts < 2:
        return None
    high = 1.0
    while _power(prompts, high, level) < power:
        high *= 2
    size = float(optimize.brentq(lambda size: _power(prompts, size, level) - power, 0.0, high))
    return rounded(size * deviation)


def prompts_needed(
    deviation: float | None, effect: float | None, *, power: float = POWER, level: float = LEVEL
) -> int | None:
    """How many prompts a two-sided t test needs to find a true difference of `effect`, either way, with this power.

    Two at least; None without spread or effect, or where more than `MOST` would be needed.
    """
    if not deviation or not effect:
        return None
    low, high = 1, 2
    while _power(high, abs(effect) / deviation, level) < power:
        low, high = high, 2 * high
        if low > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, abs(effect) / deviation, level) >= power else (middle, high)
    return high


def _power(prompts: int, size: float, level: float) -> float:
    """Chance that a two-sided t test finds a difference of `size` deviations, and in its direction.

    statsmodels adds the other direction, which is next to nothing here and comes out as NaN for two or three prompts.
    """
    bound = stats.t.isf((1 - level) / 2, prompts - 1)
    found = float(stats.nct.sf(bound, prompts - 1, size * math.sqrt(prompts)))
    return 1.0 if math.isnan(found) else found
