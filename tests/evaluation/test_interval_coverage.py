"""How often intervals hold the truth, by simulation and, for single verdicts, by exact arithmetic."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from stillhouse.evaluation.intervals import Clusters, bounded_interval, t_interval

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
REPETITIONS = 1500
"""With these a coverage of 95 % has a standard error of 0.6 %."""


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


coverage = load()
Scenario = coverage.Scenario
CLUSTERED = [
    Scenario("wins", 12, 6, 0.5, 0.9),
    Scenario("wins", 12, 6, 0.9, 0.6, "unequal"),
    Scenario("wins", 20, 6, 0.9, 0.3, "heavy"),
    Scenario("wins", 40, 2, 0.7, 0.9, "unequal"),
    Scenario("wins", 40, 6, 0.5, 0.9, "heavy"),
    Scenario("wins", 150, 6, 0.7, 0.3),
    Scenario("wins", 150, 6, 0.9, 0.9, "heavy"),
    Scenario("markers", 20, 6, 0.05, 0.5),
    Scenario("markers", 150, 6, 0.3, 0.5, "unequal"),
    Scenario("rubric", 12, 2, "failures", 0.8),
    Scenario("rubric", 40, 6, "skewed", 0.8, "heavy"),
    Scenario("marker differences", 40, 6, 0.3, 0.5),
    Scenario("rubric differences", 12, 6, "failures", 0.8),
]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", CLUSTERED, ids=lambda one: f"{one.kind}-{one.prompts}-{one.samples}-{one.sizes}")
def test_clustered_intervals_cover_and_row_level_ones_do_not(scenario: Scenario) -> None:
    found = coverage.simulate(scenario, REPETITIONS)
    assert found["coverage"] >= 0.93
    assert found["row_level_coverage"] < 0.93


@pytest.mark.slow
def test_the_case_that_the_intervals_were_changed_for() -> None:
    """150 prompts with 6 verdicts each: taken row by row, a nominal 95 % covers about 80 %."""
    found = coverage.simulate(Scenario("wins", 150, 6, 0.6, 0.25), REPETITIONS)
    assert found["coverage"] == pytest.approx(0.955, abs=0.02)
    assert found["row_level_coverage"] == pytest.approx(0.8, abs=0.05)


def test_a_single_verdict_a_prompt_is_clopper_and_pearson() -> None:
    for prompts in (2, 12, 40, 150):
        for wins in range(0, prompts + 1, max(prompts // 12, 1)):
            outcomes = np.r_[np.ones(wins), np.zeros(prompts - wins)]
            found = bounded_interval(Clusters(outcomes, np.ones(prompts)), (0.0, 1.0), 0.95)
            assert [found.low, found.high] == pytest.approx(
                list(stats.binomtest(wins, prompts).proportion_ci()), abs=1e-9
            )


def test_agreeing_verdicts_add_nothing_and_independent_ones_do() -> None:
    wins = np.array([1.0] * 15 + [0.0] * 5)
    alone = bounded_interval(Clusters(wins, np.ones(20)), (0.0, 1.0), 0.95)
    agreeing = bounded_interval(Clusters(6 * wins, np.full(20, 6.0)), (0.0, 1.0), 0.95)
    split = bounded_interval(Clusters(np.full(20, 4.5), np.full(20, 6.0)), (0.0, 1.0), 0.95)
    assert (agreeing.low, agreeing.high) == pytest.approx((alone.low, alone.high))
    assert split.high - split.low < 0.6 * (alone.high - alone.low)


def test_the_scale_and_its_direction_change_nothing() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 5, 15).astype(float)
    sums = sizes * rng.uniform(0, 1, 15)
    found = bounded_interval(Clusters(sums, sizes), (0.0, 1.0), 0.95)
    stretched = bounded_interval(Clusters(1 * sizes + 9 * sums, sizes), (1.0, 10.0), 0.95)
    mirrored = bounded_interval(Clusters(sizes - sums, sizes), (0.0, 1.0), 0.95)
    assert (stretched.low, stretched.high) == pytest.approx((1 + 9 * found.low, 1 + 9 * found.high))
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


def test_a_surer_interval_is_wider_and_more_prompts_make_it_narrower() -> None:
    def width(copies: int, level: float) -> float:
        outcomes = np.tile([1.0, 1.0, 0.0, 0.5], copies)
        found = bounded_interval(Clusters(outcomes, np.ones(len(outcomes))), (0.0, 1.0), level)
        return found.high - found.low

    assert width(5, 0.99) > width(5, 0.95) > width(5, 0.8)
    assert width(100, 0.95) == pytest.approx(width(400, 0.95) * 2, rel=0.05)


def test_intervals_meet_where_prompts_are_many() -> None:
    rng = np.random.default_rng(2)
    values = rng.beta(5, 2, 20_000)
    clusters = Clusters(values, np.ones(len(values)))
    bounded, student = bounded_interval(clusters, (0.0, 1.0), 0.95), t_interval(clusters, 0.95)
    assert (bounded.low, bounded.high) == pytest.approx((student.low, student.high), abs=1e-4)


@pytest.mark.parametrize("sizes", [[1.0, 1e6], [1.0, 1.0], [5.0] * 3])
@pytest.mark.parametrize("share", [0.0, 1e-9, 0.5, 1.0])
def test_odd_clusters_stay_on_the_scale(sizes: list[float], share: float) -> None:
    counts = np.array(sizes)
    sums = share * counts
    sums[0] = counts[0] - sums[0]
    found = bounded_interval(Clusters(sums, counts), (0.0, 1.0), 0.95, factor=6.0)
    mean = sums.sum() / counts.sum()
    assert 0 <= found.low <= mean <= found.high <= 1


@pytest.mark.slow
def test_the_benchmark_prints_its_table() -> None:
    done = subprocess.run([sys.executable, BENCHMARK, "--small"], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    *scenarios, minimum = told["results"]
    assert (told["benchmark"], len(scenarios)) == ("coverage", told["settings"]["scenarios"])
    assert minimum["coverage"] == min(one["coverage"] for one in scenarios)
    assert minimum["coverage"] >= 0.93
