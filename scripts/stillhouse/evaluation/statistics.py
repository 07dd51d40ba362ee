"""Means and rates with intervals that respect the design: answers to one prompt are not independent.

Every interval is a bootstrap over prompts (clusters), 95 %, BCa as scipy computes it, always with one seed:
the same data have the same interval wherever they appear. Above `LARGE` prompts it is the normal one.
"""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES, SEED = 2000, 7
LEVEL = 0.95
LARGE = 2000
"""Above so many prompts the normal interval, which is the same to the third digit: a bootstrap costs their square."""
DIGITS = 6
POINTS = {"first": 1.0, "tie": 0.5, "second": 0.0}

Clustered = Iterable[tuple[str, float]]
"""(prompt, value) of each observation."""


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts of the prompts' means. `n` counts observations, `prompts` clusters."""

    mean: float | None
    interval: list[float] | None
    n: int
    prompts: int

    def plain(self) -> dict[str, Any]:
        """As report.json has it."""
        return {"mean": self.mean, "interval": self.interval, "n": self.n, "prompts": self.prompts}


def rounded(value: float | None) -> float | None:
    """Six digits behind the point, so that no report hangs on the last bit of a sum; None for NaN."""
    return None if value is None or math.isnan(value) else round(float(value), DIGITS) + 0.0


def estimate(observations: Clustered) -> Estimate:
    """Mean over prompts with its 95 % interval; no interval below two prompts."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for prompt, value in observations:
        clusters[prompt].append(value)
    means = np.array([np.mean(clusters[prompt]) for prompt in sorted(clusters)])
    n = sum(map(len, clusters.values()))
    if not n:
        return Estimate(None, None, 0, 0)
    return Estimate(rounded(means.mean()), _interval(means), n, len(means))


def _interval(means: np.ndarray) -> list[float] | None:
    if len(means) < 2:
        return None
    if np.ptp(means) == 0:
        return [rounded(means[0]), rounded(means[0])]
    if len(means) > LARGE:
        half = stats.norm.ppf((1 + LEVEL) / 2) * means.std(ddof=1) / math.sqrt(len(means))
        return [rounded(means.mean() - half), rounded(means.mean() + half)]
    for method in ("BCa", "percentile"):
        generator = np.random.default_rng(SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            low, high = stats.bootstrap(
                (means,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method=method, rng=generator
            ).confidence_interval
        if np.isfinite([low, high]).all():
            break
    return [rounded(low), rounded(high)]


def paired_difference(first: Clustered, second: Clustered) -> Estimate:
    """Mean of first minus second over the prompts that both have, with its interval; `n` counts prompts."""
    mine, theirs = _means(first), _means(second)
    return estimate([(p, mine[p] - theirs[p]) for p in sorted(mine) if p in theirs])


def _means(observations: Clustered) -> dict[str, float]:
    clusters: dict[str, list[float]] = defaultdict(list)
    for prompt, value in observations:
        clusters[prompt].append(value)
    return {prompt: float(np.mean(values)) for prompt, values in clusters.items()}


def sign_test(wins: int, losses: int) -> float | None:
    """Two-sided p of the exact sign test: how often a fair coin is as far from one half; None without a decided one.

    It holds for a handful of prompts too, where a bootstrap of equal outcomes has no width.
    """
    return rounded(float(stats.binomtest(wins, wins + losses).pvalue)) if wins + losses else None


def mean(values: Sequence[float]) -> float | None:
    """Plain mean, None of nothing."""
    return rounded(float(np.mean(values))) if len(values) else None


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample, None below two values."""
    return rounded(float(np.std(values, ddof=1))) if len(values) > 1 else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho; None below three pairs or where one side is constant."""
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return rounded(float(stats.spearmanr(first, second).statistic))


def complete_pairs(verdicts: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(shown first_second, shown second_first) of every comparison that has a verdict in both orders.

    One order alone would carry the judge's taste for a place into the rate.
    """
    asked: dict[tuple[str, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in verdicts:
        if row["verdict"] is not None:
            asked[tuple(row[k] for k in ("first", "second", "set", "prompt_id", "judge"))][row["order"]] = row
    return [(both["first_second"], both["second_first"]) for _, both in sorted(asked.items()) if len(both) == 2]


def win_rate(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Win, tie and loss of the pair's first subject, rate = (win + tie / 2) / n, and its interval.

    Over comparisons complete in both orders; `flip_rate` is the share of them whose two verdicts, mapped
    back, disagree; `incomplete` counts verdicts that had to be left out or were not given.
    """
    pairs = complete_pairs(verdicts)
    kept = [row for pair in pairs for row in pair]
    counts = Counter(row["verdict"] for row in kept)
    rate = estimate([(row["prompt_id"], POINTS[row["verdict"]]) for row in kept])
    return {
        "win": counts["first"],
        "tie": counts["tie"],
        "loss": counts["second"],
        "n": len(kept),
        "prompts": rate.prompts,
        "rate": rate.mean,
        "interval": rate.interval,
        "flip_rate": mean([float(one["verdict"] != other["verdict"]) for one, other in pairs]),
        "incomplete": len(verdicts) - len(kept),
    }


def rubric_means(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Recomputed overall with interval, by category, difficulty and component; unscored ones are only counted."""
    scored = [row for row in verdicts if row["status"] == "scored"]
    overall = estimate([(row["prompt_id"], row["overall"]) for row in scored])
    return {
        "overall": overall.mean,
        "interval": overall.interval,
        "n": len(scored),
        "prompts": overall.prompts,
        "unscored": len(verdicts) - len(scored),
        "critical_failures": sum(bool(row["critical_failures"]) for row in scored),
        "by_category": _grouped(scored, "category"),
        "by_difficulty": _grouped(scored, "difficulty"),
        "by_component": _by_component(scored),
    }


def _grouped(scored: list[dict[str, Any]], column: str) -> dict[str, float | None]:
    values = sorted({row[column] for row in scored if row[column] is not None})
    return {value: mean([row["overall"] for row in scored if row[column] == value]) for value in values}


def _by_component(scored: list[dict[str, Any]]) -> dict[str, float | None]:
    scores: dict[str, list[float]] = defaultdict(list)
    for row in scored:
        for name, part in row["components"].items():
            scores[name].append(part["score"])
    return {name: mean(values) for name, values in sorted(scores.items())}
