"""Arranges a generation's report.json for the templates: sentences, key figures and geometry, no measuring."""

from dataclasses import dataclass
from typing import Any

from stillhouse.reports.view import Figure, interval, number, percent

Report = dict[str, Any]

OUTCOMES = {
    "no_flaws": "no flaws found",
    "equal": "nothing to choose between",
    "unread": "too few votes read",
    "A": "A, the incumbent",
    "AB": "AB, the synthesis",
    "B": "B, the revision",
}
"""What a round's outcome means, in the order of the figure; in the first three A stays as well."""

ROLES = ("teacher", "partner", "critic", "author", "synthesizer", "judge")
FEW = 20
"""With fewer votes or prompts nothing is said of what they are worth."""
NOISE_FLIPS, SHAKY_FLIPS, PLACE_TASTE = 0.5, 0.2, 0.7
"""Shares of comparisons that a swap turns, from which verdicts are noise, or shaky; share of verdicts for one place."""
SIGNIFICANT = 0.05
"""A difference is told where the interval leaves out one half and the sign test is below this."""
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Bar:
    """One part of a stacked bar; positions are percent of its length."""

    kind: str
    label: str
    count: int
    start: float
    width: float


def stacked(counts: dict[str, int], labels: dict[str, str]) -> list[Bar]:
    """The parts of a stacked bar that have a length, in the order of `labels`."""
    total, start, bars = sum(counts[kind] for kind in labels), 0.0, []
    for kind, label in labels.items():
        if counts[kind]:
            width = 100 * counts[kind] / total
            bars.append(Bar(kind, label, counts[kind], start, width))
            start += width
    return bars


def spoken(bars: list[Bar]) -> str:
    """A stacked bar in words."""
    return ", ".join(f"{bar.count} {bar.label}" for bar in bars)


COMPARED = {"win": "final answer better", "tie": "tie", "loss": "draft better"}


def contest(report: Report) -> bool:
    """Whether the generation is a tournament."""
    return report["method"] == "tournament"


def verdict(report: Report) -> tuple[str, str]:
    """(class, words) on whether the tournament beats one draft."""
    if not contest(report):
        return "none", "single pass"
    check = report["check"]
    if check is None:
        return "none", "no external check"
    if check["rate"] is None or check["interval"] is None:
        return "none", "too few verdicts"
    low, high = check["interval"]
    if low <= 0.5 <= high or check["sign_test"] is None or check["sign_test"] >= SIGNIFICANT:
        return "none", "no difference shown"
    return ("pass", "beats the first draft") if low > 0.5 else ("fail", "loses to the first draft")


def figures(report: Report) -> list[Figure]:
    """Key figures of the first screen."""
    whole = report["all"]
    lost = f"{whole['failed']} failed, {whole['truncated']} truncated"
    asked = f"{whole['prompts']:,} prompts"
    if whole["rows"] != whole["prompts"]:
        asked = f"{whole['rows']:,} answers to {asked}"
    found = [Figure("answered", f"{whole['answered']:,}", f"of {asked}; {lost}")]
    if not contest(report):
        calls = whole["calls"]
        return [
            *found,
            Figure("words an answer", number(whole["words"], 0), "mean"),
            Figure("calls", f"{calls['all']:,}", f"{number(calls['per_prompt'])} a prompt"),
        ]
    return [*found, *_checked(report), _converged(whole), _grown(whole), *_top_label(report)]


def _checked(report: Report) -> list[Figure]:
    check = report["check"]
    if check is None or check["rate"] is None:
        return []
    bounds = f", 95{NBSP}% interval {shares(check['interval'])}" if check["interval"] else ""
    return [Figure("final over draft", percent(check["rate"]), f"50{NBSP}% is no difference{bounds}")]


def _converged(whole: Report) -> Figure:
    rounds = sum(item["rounds"] * item["prompts"] for item in whole["rounds"])
    mean = rounds / whole["answered"] if whole["answered"] else None
    return Figure("converged", f"{whole['converged']:,}", f"of {whole['answered']:,}; {number(mean)} rounds a prompt")


def _grown(whole: Report) -> Figure:
    growth = whole["growth"]
    return Figure(
        "length", times(growth["median"]), f"words of the answer over the draft's, median; mean {times(growth['mean'])}"
    )


def _top_label(report: Report) -> list[Figure]:
    """The judging model with most votes: how often it puts the label X1 first."""
    places = [(place["votes"], name, place) for name, place in top_places(report)]
    if not places:
        return []
    votes, name, place = max(places, key=lambda item: (item[0], item[1]))
    return [
        Figure("X1 on top", percent(place["x1"]), f"of {votes:,} votes of {name}; {percent(place['fair'])} is fair")
    ]


def top_places(report: Report) -> list[tuple[str, dict[str, Any]]]:
    """(model, votes among one number of labels) of every judging model."""
    models = report["judges"].get("by_model", {})
    return [(name, place) for name, found in sorted(models.items()) for place in found["places"]]


def times(value: float | None) -> str:
    """A ratio as a factor."""
    return "–" if value is None else f"×{number(value)}"


def shares(bounds: list[float] | None) -> str:
    """An interval of shares in percent."""
    return "–" if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def category(name: str | None) -> str:
    """A category as it is shown."""
    return "(no category)" if name is None else name


def check_of(report: Report, name: str | None) -> dict[str, Any] | None:
    """The external check of one category, None where there is none."""
    parts = report["check"]["categories"] if report["check"] else []
    return next((part for part in parts if part["category"] == name), None)


def say_check(report: Report) -> list[str]:
    """What the external check shows, and how far it can be trusted."""
    check = report["check"]
    if check is None or check["rate"] is None:
        return ["No comparison has a verdict in both orders, so nothing can be said."] if check else []
    won = f"{check['win']} of {check['prompts']} prompts went to the final answer, {check['loss']} to the draft"
    told = [f"{won}, {check['tie']} were ties ({check['identical']} because nothing had changed)."]
    words = {
        "pass": "The tournament beats its first drafts beyond chance",
        "fail": "The judges prefer the first drafts: the tournament did harm",
        "none": "No difference is shown",
    }
    chance = "" if check["sign_test"] is None else f" (sign test over prompts: p {number(check['sign_test'], 3)})"
    told.append(f"{words[verdict(report)[0]]}{chance}.")
    return told + [_say_outsider(name, found) for name, found in sorted(check["by_judge"].items())]


def _say_outsider(name: str, found: dict[str, Any]) -> str:
    flips, seen = found["flip_rate"], found["first_shown_share"]
    if found["comparisons"] < FEW:
        return f"{name}: {found['comparisons']} comparisons, too few to tell what its verdicts are worth."
    said = f"{name} contradicted itself in {percent(flips)} of {found['comparisons']} comparisons when the order was swapped"
    if seen is not None:
        said += f" and chose the answer shown first in {percent(seen)} of its decided verdicts"
    if flips >= NOISE_FLIPS or (seen is not None and max(seen, 1 - seen) >= PLACE_TASTE):
        return f"{said}: treat its preferences as noise."
    if flips >= SHAKY_FLIPS:
        return f"{said}: only a wide margin over many prompts means anything."
    return f"{said}: its preferences are stable under a swap."


def say_votes(report: Report) -> list[str]:
    """What the panel's votes are worth."""
    told = [_say_place(name, place) for name, place in top_places(report) if place["votes"] >= FEW]
    agreement = report["judges"]["agreement"]
    if agreement["pairs"] >= FEW:
        told.append(
            f"Two judges of a round put the same candidate first in {percent(agreement['same_first'])} of pairs, and their "
            f"orders agree with a Kendall's tau of {number(agreement['tau'])} (0 is chance, 1 the same order)."
        )
    return told or ["There are too few votes to tell what they are worth."]


def _say_place(name: str, place: dict[str, Any]) -> str:
    low, high = place["x1_interval"]
    bounds = f"95{NBSP}% interval {interval([100 * low, 100 * high], 0)}"
    said = (
        f"{name} puts the first label, X1, on top in {percent(place['x1'])} of {place['votes']} votes over "
        f"{place['labels']} candidates ({bounds}; {percent(place['fair'])} is fair)"
    )
    if low <= place["fair"] <= high:
        return f"{said}: no taste for a place is shown."
    if place["x1"] >= 2 * place["fair"] or place["x1"] <= place["fair"] / 2:
        return f"{said}: it votes for a place rather than a text, and the winners of its rounds are close to chance."
    return f"{said}: the place has a say in its votes."
