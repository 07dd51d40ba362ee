"""How often the intervals of judged evaluations hold the truth, by simulation. One JSON object; see README.md.

python benchmarks/coverage.py            all scenarios
python benchmarks/coverage.py --small    some of them, with fewer repetitions
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from stillhouse.evaluation.statistics import Estimate, estimate, paired_difference

SEED = 11
LEVEL = 0.95
NORMAL = 1.959964
FULL, SMALL = 2000, 500
PROMPTS, SAMPLES = (12, 20, 40, 150), (1, 2, 6)
RATES, CORRELATIONS = (0.5, 0.7, 0.9), (0.0, 0.3, 0.6, 0.9)
MARKERS, RUBRICS = (0.05, 0.3, 0.9), ("skewed", "failures")
SCALE = (1.0, 10.0)
MANY = 200_000
"""Prompts from which the true mean of rubric scores is taken."""


@dataclass(frozen=True)
class Scenario:
    """How observations come about: `samples` a prompt at most, `value` the true mean or a shape of scores."""

    kind: str  # wins, markers, rubric, marker differences, rubric differences
    prompts: int
    samples: int
    value: float | str
    correlation: float  # within a prompt
    sizes: str = "equal"  # equal; unequal: 1 to `samples`; heavy: besides, one prompt in seven has four times as many


@dataclass(frozen=True)
class Counted:
    """How many intervals held the truth, and how wide they were."""

    held: int
    width: float


def scenarios(small: bool) -> Iterator[Scenario]:
    """All of them, or a few at the corners."""
    sizes = ("equal", "unequal") if small else ("equal", "unequal", "heavy")
    prompts = (12, 150) if small else PROMPTS
    for number, samples, size in product(prompts, SAMPLES, sizes):
        if samples == 1 and size != "equal":
            continue
        rates, correlations = ((0.5, 0.9), (0.3, 0.9)) if small else (RATES, CORRELATIONS)
        for rate, correlation in product(rates, correlations if samples > 1 else (0.0,)):
            yield Scenario("wins", number, samples, rate, correlation, size)
        for mean in MARKERS:
            yield Scenario("markers", number, samples, mean, 0.5, size)
        for shape in RUBRICS:
            yield Scenario("rubric", number, samples, shape, 0.8, size)
        if size == "equal":
            yield Scenario("marker differences", number, samples, 0.3, 0.5)
            yield Scenario("rubric differences", number, samples, "failures", 0.8)


def counts(scenario: Scenario, rng: np.random.Generator) -> np.ndarray:
    """Observations of each prompt."""
    if scenario.sizes == "equal":
        return np.full(scenario.prompts, scenario.samples)
    some = rng.integers(1, scenario.samples + 1, scenario.prompts)
    if scenario.sizes == "heavy":
        some[rng.random(scenario.prompts) < 1 / 7] = 4 * scenario.samples
    return some


def shares(mean: float, correlation: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Chances of prompts that spread so that verdicts on one prompt correlate (beta-binomial)."""
    if correlation == 0:
        return np.full(size, mean)
    strength = 1 / correlation - 1
    return rng.beta(mean * strength, (1 - mean) * strength, size)


def rubric(shape: str, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores in halves from 1 to 10, skewed to the left: an exponential tail, or one prompt in ten that goes wrong."""
    if shape == "skewed":
        level = 10 - rng.exponential(1.0, len(sizes))
    else:
        level = np.where(rng.random(len(sizes)) < 0.1, 4.0, 9.0)
    scores = np.repeat(level, sizes) + rng.normal(0, 0.5, sizes.sum())
    return np.clip(np.round(2 * scores) / 2, *SCALE)


def draw(scenario: Scenario, rng: np.random.Generator) -> list[tuple[int, float]]:
    """(prompt, value) of one evaluation."""
    sizes = counts(scenario, rng)
    if scenario.kind.startswith("rubric"):
        values = rubric(str(scenario.value), sizes, rng)
    else:
        steps = 1 if scenario.kind == "wins" else 4
        chances = shares(float(scenario.value), scenario.correlation, scenario.prompts, rng)
        values = rng.binomial(steps, np.repeat(chances, sizes)) / steps
    return list(zip(np.repeat(np.arange(scenario.prompts), sizes).tolist(), values.tolist(), strict=True))


def truth(scenario: Scenario) -> float:
    """What the interval should hold."""
    if scenario.kind.endswith("differences"):
        return 0.0
    if scenario.kind == "rubric":
        return float(rubric(str(scenario.value), np.ones(MANY, int), np.random.default_rng(SEED)).mean())
    return float(scenario.value)


def ours(scenario: Scenario) -> Callable[[np.random.Generator], tuple[Estimate, list[float]]]:
    """Draws an evaluation; gives the library's estimate, and the values as if all were independent."""
    bounds = SCALE if scenario.kind == "rubric" else (0.0, 1.0)

    def one(rng: np.random.Generator) -> tuple[Estimate, list[float]]:
        drawn = draw(scenario, rng)
        return estimate(drawn, bounds=bounds, level=LEVEL), [value for _, value in drawn]

    def two(rng: np.random.Generator) -> tuple[Estimate, list[float]]:
        first, second = draw(scenario, rng), draw(scenario, rng)
        known = None if scenario.kind.startswith("rubric") else bounds
        apart = [a - b for (_, a), (_, b) in zip(first, second, strict=True)]
        return paired_difference(first, second, bounds=known, level=LEVEL), apart

    return two if scenario.kind.endswith("differences") else one


def by_row(values: list[float]) -> list[float]:
    """The normal interval that takes every row as independent, for comparison."""
    spread = np.asarray(values)
    half = NORMAL * spread.std(ddof=1) / math.sqrt(len(spread))
    return [spread.mean() - half, spread.mean() + half]


def count(intervals: list[list[float]], true: float) -> Counted:
    """Of intervals, over the repetitions."""
    held = sum(low - 1e-6 <= true <= high + 1e-6 for low, high in intervals)
    return Counted(held, float(np.mean([high - low for low, high in intervals])))


def simulate(scenario: Scenario, repetitions: int) -> dict[str, Any]:
    """One entry of `results`: coverage and mean width of the library's interval and of the row-level one."""
    rng = np.random.default_rng(SEED)
    evaluate, true = ours(scenario), truth(scenario)
    found = [evaluate(rng) for _ in range(repetitions)]
    clustered = count([one.interval for one, _ in found if one.interval is not None], true)
    rows = count([by_row(values) for _, values in found], true)
    return {
        **asdict(scenario),
        "coverage": clustered.held / repetitions,
        "width": round(clustered.width, 4),
        "row_level_coverage": rows.held / repetitions,
        "row_level_width": round(rows.width, 4),
    }


def main() -> None:
    """Run all scenarios and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer scenarios and repetitions")
    arguments = parser.parse_args()
    repetitions, results = SMALL if arguments.small else FULL, []
    for scenario in scenarios(arguments.small):
        results.append(simulate(scenario, repetitions))
        print(f"{results[-1]['coverage']:.3f} {scenario}", file=sys.stderr, flush=True)
    worst = min(results, key=lambda result: result["coverage"])
    rows = [result["row_level_coverage"] for result in results]
    minimum = {
        "kind": "minimum",
        "coverage": worst["coverage"],
        "of": {name: worst[name] for name in asdict(Scenario("", 0, 0, 0.0, 0.0))},
        "row_level_coverage": min(rows),
        "row_level_below_0.93": round(sum(rate < 0.93 for rate in rows) / len(rows), 4),
    }
    settings = {"level": LEVEL, "repetitions": repetitions, "scenarios": len(results), "seed": SEED}
    print(json.dumps({"benchmark": "coverage", "settings": settings, "results": [*results, minimum]}, indent=2))


if __name__ == "__main__":
    main()
