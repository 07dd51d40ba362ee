"""Judges' replies: every rendering of a ranking is read back, and whatever is ambiguous is refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.tournament.ranking import (
    CANDIDATES,
    LABELS,
    borda,
    parse_ranking,
    shuffled_labels,
    winner,
)
from stillhouse.tournament.roles import no_flaws

ORDERS = st.permutations(LABELS)
SEPARATORS = st.sampled_from([" > ", ">", ", ", "; ", " | ", " => ", " then ", ", then "])
WRAPS = st.sampled_from(["{}", "[{}]", "**{}**", "`{}`", "({})", "{}."])
HEADS = st.sampled_from(
    [
        "RANKING: {}",
        "Ranking: {}",
        "ranking - {}",
        "**RANKING:** {}",
        "RANKING = {}",
        "RANKING:\n{}",
        "## Ranking\n\n{}",
        "{}",
    ]
)
BEFORE = st.sampled_from(
    ["", "I read all three answers with care.\n\n", "X2 is vague and X1 is padded.\n", "Let me think.\n\n"]
)
SPELLING = st.sampled_from([str.upper, str.lower, lambda label: label.replace("X", "X ")])


@given(ORDERS, SEPARATORS, WRAPS, HEADS, BEFORE, SPELLING)
def test_any_rendering_of_a_permutation_is_read_back(order, separator, wrap, head, before, spell) -> None:
    text = before + head.format(wrap.format(separator.join(map(spell, order))))
    assert parse_ranking(text) == list(order), text


@given(ORDERS, st.integers(1, 4))
def test_the_same_line_repeated_is_one_ranking(order, times: int) -> None:
    assert parse_ranking("\n".join(["RANKING: " + " > ".join(order)] * times)) == list(order)


def test_labels_in_angle_brackets() -> None:
    assert parse_ranking("RANKING: <X2> > <X1> > <X3>") == ["X2", "X1", "X3"]


def test_numbered_lines_below_a_heading() -> None:
    assert parse_ranking("RANKING:\n1. X2\n2. X3\n3. X1\n") == ["X2", "X3", "X1"]
    assert parse_ranking("Ranking:\n\n- X3\n- X1\n- X2\n\nX3 is best.") == ["X3", "X1", "X2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No idea.",
        "RANKING:",
        "RANKING: X1 > X2",
        "RANKING: X1 > X2 > X2",
        "RANKING: X1 > X2 > X3 > X1",
        "RANKING: X1 > X2 > X4",
        "RANKING: X1 > X2 > X10",
        "RANKING: A > B > AB",
        "RANKING: X1 = X2 > X3",
        "RANKING: X1 >= X2 > X3",
        "RANKING: X1 > X2 tied with X3",
        "RANKING: X1 < X2 < X3",
        "RANKING: X3 < X2 > X1",
        "RANKING: X1 > X2 > X3\nRANKING: X2 > X1 > X3",
        "X1 > X2 > X3\nX3 > X2 > X1",
        "RANKING: best > middle > worst",
        "X1 is best.\nX2 is worst.",
    ],
)
def test_ambiguous_replies_are_refused(text: str) -> None:
    assert parse_ranking(text) is None


@given(st.lists(st.sampled_from(["X1", "X2", "X3", "X4", "X0"]), max_size=6))
def test_only_permutations_pass(labels: list[str]) -> None:
    found = parse_ranking("RANKING: " + " > ".join(labels))
    assert found == (labels if sorted(labels) == sorted(LABELS) else None)


@given(st.text(max_size=300))
def test_any_text_is_either_refused_or_a_permutation(text: str) -> None:
    found = parse_ranking(text)
    assert found is None or sorted(found) == list(LABELS)


@pytest.mark.parametrize("text", ["X1 " * 20_000 + "!", "RANKING: " + "X1 > " * 20_000, "X1" + " , " * 20_000 + "?"])
def test_long_replies_take_no_time(text: str) -> None:
    started = time.monotonic()
    assert parse_ranking(text) is None
    assert time.monotonic() - started < 2


@given(st.lists(st.permutations(CANDIDATES), max_size=7))
def test_borda_gives_three_points_a_vote_and_no_vote_order_matters(rankings) -> None:
    points = borda(rankings)
    assert sum(points.values()) == 3 * len(rankings)
    assert points == borda(list(reversed(rankings)))


def test_borda_by_hand() -> None:
    assert borda([["B", "A", "AB"], ["B", "AB", "A"], ["A", "B", "AB"]]) == {"A": 3, "B": 5, "AB": 1}


@pytest.mark.parametrize(
    ("points", "first"),
    [
        ({"A": 2, "B": 2, "AB": 2}, "A"),
        ({"A": 1, "B": 4, "AB": 4}, "AB"),
        ({"A": 3, "B": 3, "AB": 0}, "A"),
        ({"A": 0, "B": 3, "AB": 3}, "AB"),
        ({"A": 1, "B": 3, "AB": 2}, "B"),
    ],
)
def test_ties_prefer_a_then_ab_then_b(points: dict[str, int], first: str) -> None:
    assert winner(points) == first
    assert winner(dict(reversed(points.items()))) == first


def test_labels_are_shuffled_by_the_seed_alone_and_evenly() -> None:
    assert shuffled_labels(5) == shuffled_labels(5)
    firsts = [shuffled_labels(seed)["X1"] for seed in range(600)]
    assert all(150 < firsts.count(candidate) < 250 for candidate in CANDIDATES)


@pytest.mark.parametrize("text", ["NO FLAWS", "no flaws.", "**NO FLAWS**", ' "No flaws!" ', "> NO  FLAWS\n"])
def test_no_flaws_alone_counts(text: str) -> None:
    assert no_flaws(text)


@pytest.mark.parametrize(
    "text", ["There are no flaws.", "NO FLAWS, except one", "no flaws\n1. It is vague", "", "NO FLAW", "NONO FLAWS"]
)
def test_no_flaws_within_a_sentence_does_not(text: str) -> None:
    assert not no_flaws(text)
