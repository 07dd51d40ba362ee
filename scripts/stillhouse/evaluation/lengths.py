"""The win rate that is left when both answers are equally long."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.intervals import Interval
from stillhouse.evaluation.pairs import usable
from stillhouse.evaluation.statistics import LEVEL, POINTS, ends

FEWEST, EITHER_SIDE, EITHER_SHARE = 20, 5, 0.05
"""Prompts below which three coefficients are too many; prompts, and their share, where each answer is no longer."""
PRIOR = 2.5
"""Standard deviation of the prior on the coefficients of length and order (Gelman et al. 2008 use this scale)."""
STEPS, LONGEST, ENOUGH = 200, 5.0, 1e-8


@dataclass(frozen=True)
class _Fit:
    """Coefficients, fitted probabilities and the inverse of the information."""

    coefficients: np.ndarray
    fitted: np.ndarray
    inverse: np.ndarray


def length_controlled(rows: Sequence[dict[str, Any]], *, level: float = LEVEL) -> dict[str, Any] | None:
    """rate, interval and n of a pair's first subject at equal length; rows as in pairwise.parquet.

    The logit of a win (ties one half) is fitted on tanh(difference of word counts / its root mean square), as in
    AlpacaEval 2 (Dubois et al. 2024), and on the order where both occur; the rate is the fitted one at difference
    zero, averaged over the orders. Two penalties keep it finite where length decides every verdict: Jeffreys' prior
    (Firth 1993), and a normal one of standard deviation 2.5 on length and order. The interval is cluster-robust by
    prompt on the logit scale, and never narrower than the model's own.

    None with fewer than 20 prompts whose answers are known, or where either subject's answer is the longer one on all
    but a handful of them (under 5, or under 5 %): then nothing tells length from who answered.
    """
    known = [r for r in usable(rows).rows if r["first_words"] is not None and r["second_words"] is not None]
    prompts: dict[str, int] = {}
    codes = np.array([prompts.setdefault(row["prompt_id"], len(prompts)) for row in known])
    if len(prompts) < FEWEST or not _both_sides(known, len(prompts)):
        return None
    points = np.array([POINTS[row["verdict"]] for row in known])
    design = _design(known)
    fit = _penalised(design.matrix, points)
    shares = special.expit(design.equal @ fit.coefficients)
    rate = float(shares.mean())
    # of the rate's logit, by the coefficients
    gradient = (shares * (1 - shares)) @ design.equal / len(shares) / (rate * (1 - rate))
    error = math.sqrt(_variance(fit, design.matrix, points, codes, gradient))
    half = float(stats.t.ppf((1 + level) / 2, len(prompts) - design.matrix.shape[1])) * error
    centre = float(special.logit(rate))
    interval = Interval(float(special.expit(centre - half)), float(special.expit(centre + half)))
    return {"rate": rounded(rate), "interval": ends(interval), "n": len(known)}


def _both_sides(rows: list[dict[str, Any]], prompts: int) -> bool:
    """Whether each subject's answer is no longer than the other's on some prompts."""
    first = {row["prompt_id"] for row in rows if row["first_words"] <= row["second_words"]}
    second = {row["prompt_id"] for row in rows if row["second_words"] <= row["first_words"]}
    return min(len(first), len(second)) >= max(EITHER_SIDE, EITHER_SHARE * prompts)


@dataclass(frozen=True)
class _Design:
    """What wins depend on, a row a verdict, and the same at equal length, a row an order."""

    matrix: np.ndarray
    equal: np.ndarray


def _design(rows: list[dict[str, Any]]) -> _Design:
    """Columns: one, the length where it ever differs, and -+1/2 for the order where both occur."""
    differences = np.array([row["first_words"] - row["second_words"] for row in rows], float)
    orders = np.array([0.5 if row["order"] == "first_second" else -0.5 for row in rows])
    places = np.unique(orders)
    columns, equal = [np.ones(len(rows))], [np.ones(len(places))]
    if differences.any():
        columns.append(np.tanh(differences / np.sqrt((differences**2).mean())))
        equal.append(np.zeros(len(places)))
    if len(places) > 1:
        columns.append(orders)
        equal.append(places)
    return _Design(np.stack(columns, axis=1), np.stack(equal, axis=1))


def _penalised(design: np.ndarray, points: np.ndarray) -> _Fit:
    """Penalised logistic regression: score X'(y - p + h (1/2 - p)) - c / PRIOR^2 = 0 with leverages h, c without the
    intercept.
    """
    coefficients = np.zeros(design.shape[1])
    precision = np.full(design.shape[1], PRIOR**-2)
    precision[0] = 0.0
    for _ in range(STEPS):
        fitted = special.expit(design @ coefficients)
        weights = fitted * (1 - fitted)
        inverse = np.linalg.pinv(design.T @ (design * weights[:, None]) + np.diag(precision))
        leverages = weights * np.einsum("ij,jk,ik->i", design, inverse, design)
        score = design.T @ (points - fitted + leverages * (0.5 - fitted)) - precision * coefficients
        step = inverse @ score
        longest = float(np.abs(step).max())
        coefficients = coefficients + step * min(1.0, LONGEST / longest if longest else 1.0)
        if longest < ENOUGH:
            break
    return _Fit(coefficients, fitted, inverse)


def _variance(fit: _Fit, design: np.ndarray, points: np.ndarray, codes: np.ndarray, gradient: np.ndarray) -> float:
    """Variance of the logit of the rate: the larger of the cluster-robust and the model's own."""
    scores = design * (points - fit.fitted)[:, None]
    prompts = int(codes.max()) + 1
    sums = np.stack([np.bincount(codes, weights=column, minlength=prompts) for column in scores.T], axis=1)
    meat = sums.T @ sums * prompts / (prompts - 1)
    robust = fit.inverse @ meat @ fit.inverse
    return float(max(gradient @ robust @ gradient, gradient @ fit.inverse @ gradient))
