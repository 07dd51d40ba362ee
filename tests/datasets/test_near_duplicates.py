"""Duplicates are found by exact similarity, whatever the order of the rows."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.near_duplicates import (
    MISSED,
    PERMUTATIONS,
    bands_for,
    drop_exact,
    drop_near,
    drop_repeats,
    similar_pairs,
)  # fmt: skip
from stillhouse.datasets.text import jaccard, shingles

LONG = "Audit this plan: we rebuild the old stone bridge over the river Tay with a crew of nine before the {} floods"


def test_near_duplicates_keep_the_first_source(house):
    rows = [house.make_row(LONG.format("autumn"), source=1), house.make_row(LONG.format("spring"), source=0)]
    rows.append(house.make_row("Write a haiku about cats.", source=1))
    found = drop_near(rows, 0.7)
    assert [row.source for row in found.kept] == [0, 1]
    (dropped,) = found.dropped
    assert (dropped.row.source, dropped.kept.source) == (1, 0) and 0.7 <= dropped.similarity < 1


def test_chain_is_one_cluster(house):
    words = [f"w{number}" for number in range(60)]
    rows = [house.make_row(" ".join(words[start : start + 40])) for start in (0, 6, 12)]
    ends = sorted(jaccard(shingles(a.prompt.text), shingles(b.prompt.text)) for a, b in itertools.combinations(rows, 2))
    assert ends[0] < 0.7 <= ends[1]
    assert len(drop_near(rows, 0.7).kept) == 1


def test_short_prompts(house):
    rows = [house.make_row(text) for text in ("Hi", "Hello", "🙂", "🙁", "Hi there", "Hi you")]
    assert len(drop_near(rows, 0.85).kept) == 6
    assert len(drop_exact([*rows, house.make_row("hi!")]).kept) == 6


def test_repeats_need_the_same_answer(house):
    rows = [house.make_row("Hi", "a"), house.make_row("Hi", "a ", source=1), house.make_row("Hi", "b", source=2)]
    assert [row.source for row in drop_repeats(rows, ("answer",)).kept] == [0, 2]


def test_conversations_that_end_alike_are_no_duplicates(house):
    def chat(first: str):
        said = [("user", first), ("assistant", "Shall I?"), ("user", "Yes, please.")]
        return house.make_row("Yes, please.", messages=[{"role": role, "content": text} for role, text in said])

    rows = [chat("Draw a plan of the mill."), chat("Who wrote Middlemarch?")]
    assert len(drop_exact(rows).kept) == len(drop_near(rows, 0.5).kept) == 2


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0])
def test_bands_miss_almost_nothing(threshold):
    bands = bands_for(threshold)
    assert PERMUTATIONS % bands == 0
    assert (1 - threshold ** (PERMUTATIONS // bands)) ** bands <= MISSED


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.85])
def test_same_pairs_as_brute_force(threshold):
    draw = random.Random(7)
    bases = [[f"v{draw.randrange(400)}" for _ in range(draw.randrange(3, 30))] for _ in range(30)]
    texts = []
    for words in bases:
        for _ in range(4):
            changed = [word if draw.random() > 0.05 else f"v{draw.randrange(400)}" for word in words]
            texts.append(" ".join(changed))
    sets = [shingles(text) for text in texts]
    brute = [(i, j) for i, j in itertools.combinations(range(len(sets)), 2) if jaccard(sets[i], sets[j]) >= threshold]
    assert brute and similar_pairs(sets, threshold) == brute


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_does_not_count(house, draw):
    texts = [LONG.format(word) for word in ("spring", "summer", "autumn")] + ["Hi", "Hi there now", "Name a river"]
    rows = [house.make_row(text, source=number % 2) for number, text in enumerate(texts)]
    expected = drop_near(rows, 0.6)
    draw.shuffle(rows)
    assert drop_near(rows, 0.6) == expected
