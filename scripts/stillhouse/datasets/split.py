"""Deals whole prompts out to train, valid and test, by a seeded hash of their identity."""

from fractions import Fraction
from math import floor
from typing import Literal

import numpy as np

from stillhouse.datasets.ranks import rank64
from stillhouse.study.datasets import Split

SPLITS = ("train", "valid", "test")
SplitName = Literal["train", "valid", "test"]
TRAIN, VALID, TEST = range(3)
_WHOLE = 1 << 64


def split_of(keys: np.ndarray, settings: Split) -> np.ndarray:
    """int8: number of each prompt's split in `SPLITS`.

    It depends on the prompt and the settings alone: other prompts never move it. The shares are realised as those of
    many independent draws are. valid comes first and train last, so that a larger share of valid moves none out of it.
    """
    valid, test = _shares(settings)
    ranks = rank64(settings.seed, "split", keys)
    in_valid = ranks < np.uint64(min(floor(valid * _WHOLE), _WHOLE - 1)) if valid else np.zeros(len(keys), bool)
    cut = floor((valid + test) * _WHOLE)
    rest = np.ones(len(keys), bool) if cut >= _WHOLE else ranks < np.uint64(cut)
    return np.where(in_valid, VALID, np.where(rest, TEST, TRAIN)).astype(np.int8)


def stratified(keys: np.ndarray, groups: np.ndarray, settings: Split) -> np.ndarray:
    """int8: like `split_of`, with the exact shares within every group (category) of prompts, by their ranks.

    A prompt of several groups counts in the first of them. One prompt more moves those at the cuts of its group: at
    most three.
    """
    order = np.lexsort((groups, keys))
    first = np.ones(len(order), bool)
    first[1:] = keys[order][1:] != keys[order][:-1]
    prompts, own = keys[order][first], groups[order][first]
    ranks = rank64(settings.seed, "split", prompts)
    found = np.full(len(prompts), TRAIN, np.int8)
    for group in np.unique(own):
        members = np.flatnonzero(own == group)
        members = members[np.lexsort((prompts[members], ranks[members]))]
        valid, test = _sizes(len(members), settings)
        found[members[:valid]] = VALID
        found[members[valid : valid + test]] = TEST
    split = np.empty(len(keys), np.int8)
    split[order] = found[np.cumsum(first) - 1]
    return split


def _shares(settings: Split) -> tuple[Fraction, Fraction]:
    """Shares of valid and test; test is what is left."""
    train, valid = Fraction(str(settings.train)), Fraction(str(settings.valid))
    return min(valid, 1 - train), max(1 - train - valid, Fraction(0))


def _sizes(prompts: int, settings: Split) -> tuple[int, int]:
    """Prompts in valid and test: the rounded shares."""
    valid, test = (floor(share * prompts + Fraction(1, 2)) for share in _shares(settings))
    return min(valid, prompts), min(test, prompts - min(valid, prompts))
