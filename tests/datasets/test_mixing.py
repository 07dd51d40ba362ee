"""Shares are met within one row, and sampling is steady."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.mixing import Offer, mix, nearest, plan_mix
from stillhouse.errors import InputError


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


def offer(keys, source=None, times=1.0, weight=None) -> Offer:
    keys = np.array(sorted(keys), np.uint64)
    source = np.zeros(len(keys), np.int16) if source is None else np.array(source, np.int16)
    weight = np.ones(len(keys), np.int64) if weight is None else np.array(weight)
    return Offer(source, keys, np.full(len(keys), times, np.float64), weight)


def sampled(keys, count: int, seed: int = 42) -> set[int]:
    given_keys = offer(keys)
    return set(given_keys.keys[mix(given_keys, [None], [count], seed).example].tolist())


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 70), st.integers(61, 99))
def test_one_more_row_moves_one_row_at_most(keys, count, new):
    before, after = sampled(keys, count), sampled(keys | {new}, count)
    assert len(before) == min(count, len(keys))
    assert len(before - after) <= 1 and after - before <= {new}


def test_the_seed_counts():
    assert sampled(range(50), 10, 1) != sampled(range(50), 10, 2)


def test_a_limit_is_told_from_a_share():
    shared = offer(range(40), source=[0] * 20 + [1] * 20)
    taken = mix(shared, [None, 0.2], [8, None], 42)
    assert int(taken.over_limit.sum()) == 12 and not taken.over_limit[20:].any()
    assert np.bincount(shared.source[taken.example]).tolist() == [8, 2]


@given(st.integers(1, 200), st.integers(1, 399))
def test_repeats_are_realised_to_the_nearest_row(rows, hundredths):
    taken = mix(offer(range(rows), times=hundredths / 100), [None], [None], 42)
    copies = np.bincount(taken.example, minlength=rows)
    assert abs(len(taken.example) - rows * hundredths / 100) <= 0.5 + 1e-9
    assert set(copies.tolist()) <= {hundredths // 100, hundredths // 100 + 1}
    assert taken.thinned.tolist() == (copies == 0).tolist()
    for one in range(rows):
        assert sorted(taken.copy[taken.example == one].tolist()) == list(range(copies[one]))


def test_a_share_takes_first_copies_first():
    shared = offer(range(30), source=[0] * 20 + [1] * 10)
    doubled = Offer(shared.source, shared.keys, np.where(shared.source == 1, 3.0, 1.0), shared.weight)
    taken = mix(doubled, [None, 0.5], [None, None], 42)
    copies = np.bincount(taken.example, minlength=30)[20:]
    assert copies.sum() == 20 and set(copies.tolist()) == {2}


@given(st.lists(st.integers(1, 50), min_size=40, max_size=80), st.integers(5, 40))
def test_shares_of_tokens_are_met_by_the_nearest_row(weights, percent):
    half = len(weights) // 2
    shared = offer(range(len(weights)), source=[0] * half + [1] * (len(weights) - half), weight=weights)
    taken = mix(shared, [None, percent / 100], [None, None], 42)
    tokens = np.bincount(shared.source[taken.example], shared.weight[taken.example], minlength=2)
    if not taken.short:
        wanted = sum(weights[:half]) * percent / (100 - percent)
        assert abs(tokens[1] - wanted) <= max(weights) / 2 + 1


@pytest.mark.parametrize(("wanted", "count"), [(0, 0), (2, 0), (3, 1), (5, 1), (7, 2), (11, 3), (99, 3)])
def test_nearest(wanted, count):
    assert nearest(np.array([5, 8, 12]), wanted) == count
