"""Exact sizes, whole prompts, and few moves when a prompt is added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.rows import Example
from stillhouse.datasets.split import arrange, assign_splits, split_sizes
from stillhouse.study.datasets import Split

IDS = st.sets(st.integers(0, 500).map("p{}".format), max_size=60)
SHARES = st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda pair: sum(pair) <= 20)


@pytest.mark.parametrize(
    ("prompts", "train", "valid", "sizes"),
    [
        (100, 0.9, 0.1, (90, 10, 0)),
        (100, 0.8, 0.1, (80, 10, 10)),
        (10, 0.98, 0.02, (9, 1, 0)),
        (9, 0.98, 0.02, (9, 0, 0)),
        (10, 1.0, 0.0, (10, 0, 0)),
        (0, 0.9, 0.1, (0, 0, 0)),
        (1, 0.9, 0.1, (1, 0, 0)),
    ],
)
def test_sizes(prompts, train, valid, sizes):
    assert tuple(split_sizes(prompts, Split(train=train, valid=valid)).values()) == sizes


@given(IDS, SHARES, st.integers(0, 9))
def test_sizes_are_near_the_shares(ids, shares, seed):
    settings = Split(train=shares[0] / 20, valid=shares[1] / 20, seed=seed)
    names = list(assign_splits(ids, settings).values())
    assert len(names) == len(ids)
    for name, share in (("train", settings.train), ("valid", settings.valid)):
        assert abs(names.count(name) - share * len(ids)) <= 1.0 + 1e-9


@given(IDS, st.integers(501, 600).map("p{}".format), SHARES)
def test_one_more_prompt_moves_three_at_most(ids, new, shares):
    settings = Split(train=shares[0] / 20, valid=shares[1] / 20)
    before, after = assign_splits(ids, settings), assign_splits([new, *sorted(ids)], settings)
    # valid grows by one and test by one: one prompt crosses the first cut, two cross the second
    assert sum(before[one] != after[one] for one in ids) <= 3


def test_order():
    rows = [Example(source, f"p{number}", (), {}) for source in (1, 0) for number in range(20)]
    by_source = arrange(rows, "source", 42)
    assert [one.source for one in by_source] == [0] * 20 + [1] * 20
    shuffled = arrange(rows, "shuffle", 42)
    assert shuffled == arrange(rows[::-1], "shuffle", 42) != by_source
    assert shuffled != arrange(rows, "shuffle", 43) and len({one.source for one in shuffled[:20]}) == 2
