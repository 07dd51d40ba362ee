"""Shares are met within one row, and sampling is steady."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.mixing import plan_mix, sample
from stillhouse.datasets.rows import Example
from stillhouse.errors import InputError


def examples(numbers) -> list[Example]:
    return [Example(0, f"p{number}", (), {}) for number in numbers]


def test_the_published_mix():
    assert plan_mix([308, 214], [None, 0.125]).counts == [308, 44]


def test_too_few_rows_are_all_taken_and_the_others_keep_their_share():
    mix = plan_mix([100, 10, 500], [None, 0.3, 0.2])
    assert mix.counts[1] == 10 and mix.short[1] > 0
    assert mix.counts[2] / sum(mix.counts) == pytest.approx(0.2, abs=1 / sum(mix.counts))


def test_no_shares_takes_everything():
    assert plan_mix([3, 0, 5], [None, None, None]).counts == [3, 0, 5]


def test_nothing_to_measure_by_gives_nothing():
    assert plan_mix([0, 50], [None, 0.5]).counts == [0, 0]


@pytest.mark.parametrize(
    ("shares", "told"), [([None, 0.5, 0.5], "less than 1"), ([0.3, 0.3], "every source has a share")]
)
def test_impossible_shares(shares, told):
    with pytest.raises(InputError, match=told):
        plan_mix([9] * len(shares), shares)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=3), st.lists(st.integers(1, 30), min_size=1, max_size=4),
       st.integers(0, 400))  # fmt: skip
def test_shares_are_met_within_one_row(whole, percents, available):
    if sum(percents) >= 100:
        return
    shares = [percent / 100 for percent in percents]
    mix = plan_mix([*whole, *[available] * len(shares)], [*[None] * len(whole), *shares])
    total = sum(mix.counts)
    assert mix.counts[: len(whole)] == whole
    for number, share in enumerate(shares, start=len(whole)):
        if number in mix.short:
            assert mix.counts[number] == available and mix.short[number] > 0
        else:
            assert 0 <= mix.counts[number] <= available
            assert abs(mix.counts[number] - share * total) < 1.0


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 70), st.integers(61, 99))
def test_one_more_row_moves_one_row_at_most(numbers, count, new):
    before = {one.prompt_id for one in sample(examples(numbers), count, 42)}
    after = {one.prompt_id for one in sample(examples(sorted(numbers, reverse=True)) + examples([new]), count, 42)}
    assert len(before) == min(count, len(numbers))
    assert len(before - after) <= 1 and after - before <= {f"p{new}"}


def test_the_seed_counts():
    assert sample(examples(range(50)), 10, 1) != sample(examples(range(50)), 10, 2)
