"""What judges are worth: the words follow from the numbers."""

from typing import Any

import pytest
from judged_rows import both_orders, place, scored, verdict

from stillhouse.evaluation.worth import is_noise, worth_of_judges

Row = dict[str, Any]


def comparison(prompt: int, first_shown: str, second_shown: str) -> list[Row]:
    at = place(f"p{prompt}")
    return [
        verdict("a", "b", at, first_shown, order="first_second"),
        verdict("a", "b", at, second_shown, order="second_first"),
    ]


def of_judge(pairwise: list[Row], rubric: list[Row] | None = None, **more: Any) -> Row:
    return worth_of_judges(rubric or [], pairwise, {}, 9.0, **more)["j"]


@pytest.mark.parametrize(
    ("verdicts", "words", "noise"),
    [
        (("first", "first"), "stable under a swap", False),
        (("second", "first"), "picked the second answer shown", True),
        (("tie", "tie"), "called every comparison a tie", False),
    ],
)
def test_words_follow_from_the_numbers(verdicts: tuple[str, str], words: str, noise: bool) -> None:
    found = of_judge([row for n in range(10) for row in comparison(n, *verdicts)])
    assert words in found["sentences"][0]
    assert is_noise(found["pairwise"]) is noise


def test_few_verdicts_say_nothing() -> None:
    [said] = of_judge(comparison(0, "first", "first"))["sentences"]
    assert said == "Only 1 comparisons have a verdict in both orders: too few to tell its worth."
    [said] = of_judge([verdict("a", "b", place("p"), won) for won in ("first", "tie")])["sentences"]
    assert said == "Only 1 verdicts with a winner, none in both orders: too few to tell its worth."


def recorded(wins: int, losses: int, first_shown: float) -> list[Row]:
    """One verdict a prompt; the candidate stood first in a share of them."""
    won = ["first"] * wins + ["second"] * losses
    rows = []
    for number, choice in enumerate(won):
        order = "first_second" if (number * 7) % 20 < 20 * first_shown else "second_first"
        rows.append(verdict("a", "b", place(f"p{number}"), choice, order=order))
    return rows


def test_a_taste_for_a_place_shows_in_one_order_too() -> None:
    orders = ("first_second", "second_first")
    rows = [verdict("a", "b", place(f"p{n}"), ("first", "second")[n % 2], order=orders[n % 2]) for n in range(20)]
    found = of_judge(rows)
    assert "picked the first answer shown in 100" in found["sentences"][0]
    assert "in one order only" in found["sentences"][0]
    assert found["sentences"][0].endswith("treat its preferences as noise.")
    assert found["pairwise"]["flip_rate"] is None


def test_a_better_candidate_that_often_stood_first_is_no_taste_for_a_place() -> None:
    found = of_judge(recorded(36, 4, 0.8))
    assert not is_noise(found["pairwise"])
    assert found["pairwise"]["first_shown_share"] < 0.7
    always = of_judge(recorded(18, 2, 1.0))
    assert (always["pairwise"]["first_shown_share"], is_noise(always["pairwise"])) == (None, False)
    assert always["sentences"][0].startswith("It saw each pair in one order only")


def test_a_few_places_may_be_luck() -> None:
    """Fourteen of twenty for the place shown first is what a fair judge does in one run of nine."""
    rows = []
    for number in range(20):
        order, took_first = ("first_second", "second_first")[number % 2], number < 14
        won = "first" if took_first == (order == "first_second") else "second"
        rows.append(verdict("a", "b", place(f"p{number}"), won, order=order))
    found = of_judge(rows)["pairwise"]
    assert (found["first_shown_share"], found["first_shown_p"] > 0.05) == (0.7, True)
    assert not is_noise(found)


@pytest.mark.parametrize("few", [1, 7])
def test_too_few_verdicts_in_one_order_say_nothing_of_places(few: int) -> None:
    """The candidate wins everything that is shown in one order, and loses the handful in the other."""
    rows = [verdict("a", "b", place(f"p{n}"), "first") for n in range(30)]
    rows += [verdict("a", "b", place(f"q{n}"), "second", order="second_first") for n in range(few)]
    found = of_judge(rows)
    assert (found["pairwise"]["first_shown_share"], found["pairwise"]["first_shown_p"]) == (None, None)
    assert not is_noise(found["pairwise"])
    assert found["sentences"][0].startswith("It saw each pair in one order only")
    rows += [verdict("a", "b", place(f"r{n}"), "second", order="second_first") for n in range(8 - few)]
    assert is_noise(of_judge(rows)["pairwise"])


def test_verdicts_on_one_prompt_are_one_piece_of_evidence_on_places() -> None:
    """Thirty repeats on three prompts do not show a taste for a place; a judge that is torn on a prompt shows none."""
    rows = [
        verdict("a", "b", place(f"p{n % 3}"), won, order=order, repeat=n)
        for n in range(30)
        for order, won in (("first_second", "first"), ("second_first", "second"))
    ]
    assert of_judge(rows)["pairwise"]["first_shown_p"] == 0.25
    fair = of_judge([row for n in range(10) for row in comparison(n, "first", "first")])["pairwise"]
    assert (fair["first_shown_share"], fair["first_shown_p"]) == (0.5, None)


def test_the_second_sample_has_its_own_markers() -> None:
    at = [place(f"p{n}") for n in range(8)]
    rows = [row for here in at for row in both_orders("a", "b", here, "second", second_sample=1)]
    marks = {(name, "plans", f"p{n}", sample): sample for name in "ab" for n in range(8) for sample in (0, 1)}
    assert worth_of_judges([], rows, marks, None)["j"]["pairwise"]["marker_agreement"] == 1.0


def test_flat_scores_are_called_so() -> None:
    rows = [scored("a", place(str(number)), 1.0) for number in range(9)]
    marks = {("a", "plans", str(number), 0): number for number in range(9)}
    [sentence] = worth_of_judges(rows, [], marks, 9.0)["j"]["sentences"]
    assert "cannot tell answers apart" in sentence


def test_samples_of_one_prompt_are_told_apart() -> None:
    """The judge prefers the answer with more markers in both samples, although the samples' counts are swapped."""
    rows, marks = [], {}
    for number in range(5):
        for sample in (0, 1):
            at = place(f"p{number}", sample=sample)
            rows += both_orders("a", "b", at, ("first", "second")[sample])
            marks |= {("a", "plans", f"p{number}", sample): 1 - sample, ("b", "plans", f"p{number}", sample): sample}
    found = worth_of_judges([], rows, marks, None)["j"]["pairwise"]
    assert (found["marker_agreement"], found["comparisons"], found["flip_rate"]) == (1.0, 10, 0.0)


@pytest.mark.parametrize(
    ("families", "judge", "kin"),
    [
        ({"a": "qwen", "b": "llama"}, "qwen", ["a"]),
        ({"a": "qwen", "b": "qwen"}, "qwen", ["a", "b"]),
        ({"a": None, "b": "llama"}, None, None),
        ({"a": None, "b": None}, "qwen", None),
        ({"a": "llama"}, "qwen", None),
        ({"elsewhere": "qwen"}, "qwen", None),
    ],
)
def test_a_judge_of_the_family_is_named(families: Row, judge: str | None, kin: list[str] | None) -> None:
    found = of_judge(comparison(0, "first", "first"), families=families, judge_families={"j": judge})
    assert found["family"] == judge
    if kin is None:
        assert found["self_preference"] is None
    else:
        assert found["self_preference"]["subjects"] == kin
        assert "one family (qwen) with" in found["self_preference"]["sentence"]
        assert ("all subjects" in found["self_preference"]["sentence"]) is (len(kin) == 2)
