"""What a judge's verdicts are worth, computed from the verdicts themselves and said in words.

The words follow from the numbers by the bounds below; they are part of the report, so they are plain.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from stillhouse.evaluation.figures import percent, rounded
from stillhouse.evaluation.rows import key
from stillhouse.evaluation.statistics import complete_pairs, deviation, mean, rank_correlation, sign_test
from stillhouse.evaluation.summary_evidence import Place, Row, group

Marks = dict[Place, int]
"""Raw markers by answer."""
Families = Mapping[str, str | None]

FEW = 8  # comparisons, scored answers, or verdicts in one order, below which nothing is said about a judge
NOISE_FLIPS, SHAKY_FLIPS = 0.5, 0.2
CHANCE = 0.05  # p of a sign test from which a share of places may be luck
PLACE_TASTE = 0.7  # share of decided verdicts for one place from which the place, not the answer, is chosen
FLAT = 0.05  # standard deviation as a share of the scale below which scores cannot tell answers apart
MANY_UNSCORED = 0.2
FOLLOWS = 0.3


def worth_of_judges(
    rubric: list[Row],
    pairwise: list[Row],
    marks: Marks,
    width: float | None,
    families: Families | None = None,
    judge_families: Families | None = None,
) -> dict[str, Any]:
    """By judge: figures on its rubric scores and its comparisons, and what they mean in sentences.

    `width` is the rubric's highest minus its lowest score, None without a rubric. `families` are those of the subjects'
    models: a judge may prefer its own kind (Panickssery et al. 2024, LLM evaluators recognize and favor their own
    generations), which `self_preference` warns of.
    """
    scores, choices = group(rubric, "judge"), group(pairwise, "judge")
    found: dict[str, Any] = {}
    for (judge,) in sorted(set(scores) | set(choices)):
        scored, compared = scores.get((judge,), []), choices.get((judge,), [])
        one, other = _rubric(scored, marks), _pairwise(compared, marks)
        family = (judge_families or {}).get(judge)
        judged = {row["subject"] for row in scored} | {row[side] for row in compared for side in ("first", "second")}
        found[judge] = {
            "family": family,
            "rubric": one,
            "pairwise": other,
            "sentences": [*_say_pairwise(other), *_say_rubric(one, width)],
            "self_preference": _self_preference(judge, family, judged, families or {}),
        }
    return found


def _self_preference(judge: str, family: str | None, judged: set[str], families: Families) -> dict[str, Any] | None:
    kin = [name for name in sorted(judged) if family is not None and families.get(name) == family]
    if not kin:
        return None
    whose = f"all subjects that it judged ({', '.join(kin)})" if len(kin) == len(judged) else ", ".join(kin)
    return {
        "subjects": kin,
        "sentence": f"Judge {judge} is of one family ({family}) with {whose}: judges tend to prefer their own kind.",
    }


def _rubric(verdicts: list[Row], marks: Marks) -> dict[str, Any] | None:
    if not verdicts:
        return None
    scored = [row for row in verdicts if row["status"] == "scored"]
    own = [row for row in scored if row["judge_overall"] is not None]
    counted = [row for row in scored if key(row) in marks]
    reasons = Counter(row["reason"].split(":")[0] for row in verdicts if row["reason"])
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
            [row["overall"] for row in counted], [float(marks[key(row)]) for row in counted]
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
        **_place_taste(decided),
        "flip_rate": mean([float(one["verdict"] != other["verdict"]) for one, other in pairs]),
        "marker_agreement": mean([float(agreed) for agreed in agreements]),
        "marker_agreement_n": len(agreements),
    }


def _place_taste(decided: list[Row]) -> dict[str, float | None]:
    """The share of verdicts for the answer shown first, mean over the two orders, and p of its sign test over prompts.

    By order, because a recorded run may have shown the better subject first more often: that is no taste for a place.
    Nothing where an order has fewer than `FEW` verdicts: one of them would weigh as much as all of the other order.
    Prompts, not verdicts, are counted by the test: those on one prompt are not independent.
    """
    orders = group(decided, "order").values()
    if len(orders) < 2 or min(map(len, orders)) < FEW:
        return {"first_shown_share": None, "first_shown_p": None}
    prompts: dict[str, int] = defaultdict(int)
    for row in decided:
        prompts[row["prompt_id"]] += 1 if _first_shown(row) else -1
    above, below = (sum(sign * told > 0 for told in prompts.values()) for sign in (1, -1))
    shares = [sum(map(_first_shown, rows)) / len(rows) for rows in orders]
    return {"first_shown_share": mean(shares), "first_shown_p": sign_test(above, below)}


def _first_shown(row: Row) -> bool:
    """Whether the verdict went to the answer that was shown first."""
    return (row["verdict"] == "first") == (row["order"] == "first_second")


def _agrees(row: Row, marks: Marks) -> bool | None:
    """Whether the verdict went to the answer with more markers; None where both have as many."""
    samples = {"first": row["sample"], "second": row["second_sample"]}
    first, second = (marks.get((row[side], row["set"], row["prompt_id"], sample)) for side, sample in samples.items())
    if first is None or second is None or first == second:
        return None
    return (row["verdict"] == "first") == (first > second)


def is_noise(found: Mapping[str, Any] | None) -> bool:
    """Whether a judge's comparisons (the block `pairwise` of its figures) follow the place rather than the answer."""
    if found is None or found["decided"] < FEW:
        return False
    if found["comparisons"] >= FEW and found["flip_rate"] >= NOISE_FLIPS:
        return True
    share = found["first_shown_share"]
    p = found["first_shown_p"]
    return share is not None and p is not None and max(share, 1 - share) >= PLACE_TASTE and p < CHANCE


def _say_pairwise(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    if found["comparisons"] >= FEW:
        said = [_say_flips(found)]
    elif found["decided"] >= FEW and found["comparisons"] == 0:
        said = [_say_one_order(found)]
    elif found["comparisons"]:
        return [f"Only {found['comparisons']} comparisons have a verdict in both orders: too few to tell its worth."]
    else:
        return [f"Only {found['decided']} verdicts with a winner, none in both orders: too few to tell its worth."]
    if found["unscored_share"] > MANY_UNSCORED:
        said.append(f"It gave no usable verdict in {percent(found['unscored_share'])} of comparisons.")
    if found["marker_agreement_n"] >= FEW:
        share = found["marker_agreement"]
        verb = "prefers" if share >= 0.6 else "is no better than a coin at finding" if share > 0.4 else "shuns"
        said.append(
            f"Where one answer had more markers, it chose that one in {percent(share)} of "
            f"{found['marker_agreement_n']} verdicts: it {verb} the answer with more markers."
        )
    return said


def _say_flips(found: dict[str, Any]) -> str:
    flips = found["flip_rate"]
    if not found["decided"]:
        return "It called every comparison a tie: it tells nothing about which answer is better."
    told = f"It {_picked(found)}contradicted itself on {percent(flips)} of prompts when the order was swapped"
    if is_noise(found):
        return f"{told}: treat its preferences as noise."
    if flips >= SHAKY_FLIPS:
        return f"{told}: only a wide margin over many prompts means anything."
    return f"{told}: its preferences are stable under a swap."


def _picked(found: dict[str, Any]) -> str:
    share = found["first_shown_share"]
    if share is None:
        return ""
    which, taken = ("first", share) if share >= 0.5 else ("second", 1 - share)
    return f"picked the {which} answer shown in {percent(taken)} of its decided comparisons and "


def _say_one_order(found: dict[str, Any]) -> str:
    """Recorded runs often showed each pair once, in a drawn order."""
    told = f"It {_picked(found)}saw each pair in one order only, so nobody knows how often it would contradict itself"
    return f"{told}: treat its preferences as noise." if is_noise(found) else f"{told}."


def _say_rubric(found: dict[str, Any] | None, width: float | None) -> list[str]:
    if found is None:
        return []
    said = []
    if found["unscored_share"] > MANY_UNSCORED:
        said.append(f"{percent(found['unscored_share'])} of its rubric verdicts could not be scored.")
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
