"""Words follow from intervals and corrected p by the rules."""

import pytest

from stillhouse.evaluation.words import word
from stillhouse.study.gates import Rules

RULES = Rules(level=0.95, margin=0.0, equivalence=0.05)


@pytest.mark.parametrize(
    ("interval", "p", "expected"),
    [
        ([0.51, 0.81], 0.038, "wins"),
        ([0.51, 0.81], 0.06, "cannot tell"),
        ([0.51, 0.81], None, "cannot tell"),
        ([0.49, 0.81], 0.04, "cannot tell"),
        ([0.5, 0.81], 0.04, "cannot tell"),
        ([0.19, 0.49], 0.04, "loses"),
        ([0.19, 0.49], 0.05, "cannot tell"),
        ([0.46, 0.54], 0.9, "ties"),
        ([0.45, 0.55], 0.9, "ties"),
        ([0.44, 0.54], 0.9, "cannot tell"),
        ([0.0, 1.0], 1.0, "cannot tell"),
        (None, 0.001, "cannot tell"),
    ],
)
def test_a_rate(interval: list[float] | None, p: float | None, expected: str) -> None:
    assert word(interval, p, RULES) == expected


def test_a_margin_asks_for_more_than_a_difference() -> None:
    strict = Rules(level=0.95, margin=0.1, equivalence=0.05)
    assert word([0.55, 0.7], 0.001, RULES) == "wins"
    assert word([0.55, 0.7], 0.001, strict) == "cannot tell"
    assert word([0.6, 0.7], 0.001, strict) == "cannot tell"
    assert word([0.61, 0.7], 0.001, strict) == "wins"
    assert word([0.3, 0.39], 0.001, strict) == "loses"


def test_a_surer_level_asks_for_a_smaller_p() -> None:
    assert word([0.51, 0.81], 0.03, Rules(level=0.99)) == "cannot tell"
    assert word([0.51, 0.81], 0.009, Rules(level=0.99)) == "wins"


def test_a_difference_is_around_zero_and_on_its_own_scale() -> None:
    assert word([0.02, 0.3], 0.01, RULES, centre=0) == "wins"
    assert word([-0.3, -0.02], 0.01, RULES, centre=0) == "loses"
    assert word([-0.2, 0.3], 0.5, RULES, centre=0) == "cannot tell"
    assert word([-0.2, 0.3], 0.5, RULES, centre=0, scale=9) == "ties"


def test_a_judge_that_contradicts_itself_shows_no_tie() -> None:
    assert word([0.48, 0.52], 1.0, RULES, flip_rate=0.1) == "ties"
    assert word([0.48, 0.52], 1.0, RULES, flip_rate=1.0) == "cannot tell"
    assert word([0.55, 0.62], 0.001, RULES, flip_rate=0.6) == "wins"
