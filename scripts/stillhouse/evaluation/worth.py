"""What a judge's verdicts are worth, computed from the verdicts themselves and said in words.

The words follow from the numbers by the bounds below; they are part of the report, so they are plain.
"""

from collections import defaultdict
from typing import Any

from stillhouse.evaluation.statistics import complete_pairs, deviation, mean, rank_correlation, rounded

Row = dict[str, Any]
Marks = dict[tuple[str, str, str], int]
"""Raw markers by (subject, set, prompt_id)."""

FEW = 8  # comparisons or scored answers below which nothing is said about a judge
NOISE_FLIPS, SHAKY_FLIPS = 0.5, 0.2
PLACE_TASTE = 0.7  # share of decided verdicts for one place from which the place, not the answer, is chosen
FLAT = 0.05  # standard deviation as a share of the scale below which scores cannot tell answers apart
MANY_UNSCORED = 0.2
FOLLOWS = 0.3


def worth_of_judges(rubric: list[Row], pairwise: list[Row], marks: Marks, width: float | None) -> dict[str, Any]:
    """By judge: figures on its rubric scores and its comparisons, and what they mean in sentences.

    `width` is the rubric's highest minus its lowest score, None without a rubric.
    """
    judges = sorted({row["judge"] for row in [*rubric, *pairwise]})
    found: dict[str, Any] = {}
    for judge in judges:
        scores = _rubric([row for row in rubric if row["judge"] == judge], marks)
        choices = _pairwise([row for row in pairwise if row["judge"] == judge], marks)
        sentences = [*_say_pairwise(choices), *_say_rubric(scores, width)]
        found[judge] = {"rubric": scores, "pairwise": choices, "sentences": sentences}
    return found


def _rubric(verdicts: list[Row], marks: Marks) -> dict[str, Any] | None:
    if not verdicts:
        return None
    scored = [row for row in verdicts if row["status"] == "scored"]
    own = [row for row in scored if row["judge_overall"] is not None]
    counted = [row for row in scored if _key(row) in marks]
    reasons: dict[str, int] = defaultdict(int)
    for row in verdicts:
        if row["reason"]:
            reasons[row["reason"].split(":")[0]] += 1
    overall = [row["overall"] for row in scored]
    return {
        "n": len(scored),
        "unscored": len(verdicts) - len(scored),
        "unscored_share": mean([float(row["status"] != "scored") for row in verdicts]),
        "reasons": dict(sorted(reasons.items())),
        "mean": mean(overall),
        "deviation": deviation(overall),
        "distinct": len({rounded(value) for value in overall}),
        "bias": mean([row["judge_overall"] - row["overall"] for row in own]),
        "marker_correlation": rank_correlation(
            [row["overall"] for row in counted], [float(marks[_key(row)]) for row in counted]
        ),
    }


def _pairwise(verdicts: list[Row], marks: Marks) -> dict[str, Any] | None:
    if not verdicts:
        return None
    given = [row for row in verdicts if row["verdict"] is not None]
    decided = [row for row in given if row["verdict"] != "tie"]
    pairs = complete_pairs(verdicts)
    agreements = [agreed for row in decided if (agreed := _agrees(row, marks)) is not None]
    return {
        "n": len(given),
        "unscored": len(verdicts) - len(given),
        "unscored_share": rounded((len(verdicts) - len(given)) / len(verdicts)),
        "ties": len(given) - len(decided),
        "decided": len(decided),
        "comparisons": len(pairs),
        "first_shown_share": mean([float(_first_shown(row)) for row in decided]),
        "flip_rate": mean([float(one["verdict"] != other["verdict"]) for one, other in pairs]),
        "marker_agreement": mean([float(agreed) for agreed in agreements]),
        "marker_agreement_n": len(agreements),
    }


def _first_shown(row: Row) -> bool:
    """Whether the verdict went to the answer that was shown first."""
    return (row["verdict"] == "first") == (row["order"] == "first_second")


def _agrees(row: Row, marks: Marks) -> bool | None:
    """Whether the verdict went to the answer with more markers; None where both have as many."""
    first = marks.get((row["first"], row["set"], row["prompt_id"]))
    second = marks.get((row["second"], row["set"], row["prompt_id"]))
    if first is None or second is None or first == second:
        return None
    return (row["verdict"] == "first") == (first > second)


def _key(row: Row) -> tuple[str, str, str]:
    return row["subject"], row["set"], row["prompt_id"]


def _say_pairwise(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    if found["comparisons"] < FEW:
        return [f"Only {found['comparisons']} comparisons have a verdict in both orders: too few to tell its worth."]
    said = [_say_flips(found)]
    if found["unscored_share"] > MANY_UNSCORED:
        said.append(f"It gave no usable verdict in {_percent(found['unscored_share'])} of comparisons.")
    if found["marker_agreement_n"] >= FEW:
        share = found["marker_agreement"]
        verb = "prefers" if share >= 0.6 else "is no better than a coin at finding" if share > 0.4 else "shuns"
        said.append(
            f"Where one answer had more markers, it chose that one in {_percent(share)} of "
            f"{found['marker_agreement_n']} verdicts: it {verb} the answer with more markers."
        )
    return said


def _say_flips(found: dict[str, Any]) -> str:
    share, flips = found["first_shown_share"], found["flip_rate"]
    if share is None:
        return "It called every comparison a tie: it tells nothing about which answer is better."
    place, taken = ("first", share) if share >= 0.5 else ("second", 1 - share)
    told = (
        f"It picked the {place} answer shown in {_percent(taken)} of its decided comparisons and contradicted itself "
        f"on {_percent(flips)} of prompts when the order was swapped"
    )
    if flips >= NOISE_FLIPS or taken >= PLACE_TASTE:
        return f"{told}: treat its preferences as noise."
    if flips >= SHAKY_FLIPS:
        return f"{told}: only a wide margin over many prompts means anything."
    return f"{told}: its preferences are stable under a swap."


def _say_rubric(found: dict[str, Any] | None, width: float | None) -> list[str]:
    if found is None:
        return []
    said = []
    if found["unscored_share"] > MANY_UNSCORED:
        said.append(f"{_percent(found['unscored_share'])} of its rubric verdicts could not be scored.")
    if found["n"] < FEW:
        return [*said, f"Only {found['n']} answers have a rubric score: too few to tell what the scores are worth."]
    spread, follows = found["deviation"], found["marker_correlation"]
    if width and spread < FLAT * width:
        said.append(
            f"Its rubric scores hardly vary (standard deviation {spread:.2f} on a scale {width:g} wide, "
            f"{found['distinct']} different values): they cannot tell answers apart."
        )
    elif follows is None:
        said.append(f"Its rubric scores vary by {spread:.2f} (standard deviation); markers say nothing about them.")
    else:
        verb = "follow" if follows >= FOLLOWS else "do not follow" if follows > -FOLLOWS else "run against"
        said.append(
            f"Its rubric scores vary by {spread:.2f} (standard deviation) and {verb} the marker count "
            f"(rank correlation {follows:+.2f})."
        )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
