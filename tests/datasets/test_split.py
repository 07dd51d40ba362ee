"""Whole prompts, splits that hold when prompts are added, and exact shares where they are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.ranks import mixed
from stillhouse.datasets.split import TEST, TRAIN, VALID, split_of, stratified
from stillhouse.study.datasets import Split

NUMBERS = st.sets(st.integers(0, 500), max_size=60)
SHARES = st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda pair: sum(pair) <= 20)


def keys_of(numbers) -> np.ndarray:
    return mixed(np.array(list(numbers), np.uint64))


@given(NUMBERS, NUMBERS, SHARES, st.integers(0, 9))
def test_other_prompts_never_move_one(old, new, shares, seed):
    settings = Split(train=shares[0] / 20, valid=shares[1] / 20, seed=seed)
    before = split_of(keys_of(old), settings)
    after = split_of(keys_of([*old, *new]), settings)
    assert before.tolist() == after[: len(before)].tolist()


@pytest.mark.parametrize(
    ("train", "valid", "there"),
    [(1.0, 0.0, {TRAIN}), (0.0, 1.0, {VALID}), (0.0, 0.0, {TEST}), (0.9, 0.1, {TRAIN, VALID}), (0.5, 0.0, {TRAIN, TEST})],
)  # fmt: skip
def test_a_share_of_nothing_gets_nothing(train, valid, there):
    assert set(split_of(keys_of(range(3000)), Split(train=train, valid=valid)).tolist()) == there


def test_shares_are_those_of_independent_draws():
    counts = np.bincount(split_of(keys_of(range(100_000)), Split(train=0.8, valid=0.15)), minlength=3)
    assert counts / 100_000 == pytest.approx([0.8, 0.15, 0.05], abs=0.005)


def test_a_larger_valid_keeps_what_it_had():
    keys = keys_of(range(2000))
    small, large = (split_of(keys, Split(train=1 - share, valid=share)) == VALID for share in (0.05, 0.2))
    assert (small <= large).all() and large.sum() > small.sum()


def test_the_seed_counts():
    keys = keys_of(range(300))
    assert split_of(keys, Split(seed=1)).tolist() != split_of(keys, Split(seed=2)).tolist()


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(-1, 3)), max_size=80), SHARES, st.randoms())
def test_strata_have_their_exact_shares(rows, shares, draw):
    settings = Split(train=shares[0] / 20, valid=shares[1] / 20)
    keys, groups = keys_of([one for one, _ in rows]), np.array([group for _, group in rows], np.int32)
    split = stratified(keys, groups, settings)
    of_prompt = dict(zip(keys.tolist(), split.tolist(), strict=True))
    assert [of_prompt[key] for key in keys.tolist()] == split.tolist()  # all rows of a prompt in one split
    first: dict[int, int] = {}
    for key, group in zip(keys.tolist(), groups.tolist(), strict=True):
        first[key] = min(group, first.get(key, group))
    for group in set(first.values()):
        own = [of_prompt[key] for key, its in first.items() if its == group]
        for number, share in ((TRAIN, settings.train), (VALID, settings.valid)):
            assert abs(own.count(number) - share * len(own)) <= 1.0 + 1e-9
    order = list(range(len(rows)))
    draw.shuffle(order)
    assert stratified(keys[order], groups[order], settings).tolist() == split[order].tolist()
