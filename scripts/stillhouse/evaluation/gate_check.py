"""One gate's verdict: what was observed, held against its bound."""

from dataclasses import dataclass
from typing import Any

from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.statistics import Estimate


@dataclass(frozen=True)
class Measured:
    """What a gate looks at: a value with its interval, or the reason why there is none."""

    value: float | None = None
    interval: list[float] | None = None
    reason: str | None = None

    @classmethod
    def of(cls, found: Estimate, missing: str) -> "Measured":
        """An estimate, or `missing` where it is one of nothing."""
        return cls(found.mean, found.interval) if found.n else cls(reason=missing)


@dataclass(frozen=True)
class Bound:
    """At least or at most so much. With `certain` the whole interval has to keep it, not the mean alone."""

    value: float
    least: bool
    certain: bool = False


def check(
    gate: str, subject: str | None, measured: Measured, bound: Bound, category: str | None = None
) -> dict[str, Any]:
    """The entry of report.json. What could not be measured does not pass, and `reason` says why a gate failed."""
    reason = measured.reason or _breach(measured, bound)
    return {
        "gate": gate,
        "subject": subject,
        "category": category,
        "observed": rounded(measured.value),
        "interval": measured.interval,
        "direction": "at least" if bound.least else "at most",
        "bound": rounded(bound.value),
        "passed": reason is None,
        "reason": reason,
    }


def _breach(measured: Measured, bound: Bound) -> str | None:
    decisive, what = measured.value, ""
    if bound.certain:
        if measured.interval is None:
            return "too few prompts for an interval, and the study asks for certainty"
        decisive = measured.interval[0] if bound.least else measured.interval[1]
        what = f"the {'lower' if bound.least else 'upper'} bound of the interval, "
    told, limit = rounded(decisive), rounded(bound.value)
    if bound.least and told < limit:
        return f"{what}{told:g}, is below {limit:g}" if what else f"{told:g} is below {limit:g}"
    if not bound.least and told > limit:
        return f"{what}{told:g}, is above {limit:g}" if what else f"{told:g} is above {limit:g}"
    return None
