"""How a report writes numbers."""

import math

DIGITS = 6


def rounded(value: float | None) -> float | None:
    """Six digits behind the point, so that no report hangs on the last bit of a sum; None for NaN."""
    return None if value is None or math.isnan(value) else round(float(value), DIGITS) + 0.0


def percent(share: float) -> str:
    """A share as a sentence tells it, with three digits: 1 of 1000 is 0.1 %, never nothing."""
    return f"{100 * share:.3g} %"
