"""Deals whole prompts out to train, valid and test, by a seeded hash of their identity."""

from collections.abc import Iterable
from fractions import Fraction
from math import floor
from typing import Literal

from stillhouse.datasets.rows import Example, rank
from stillhouse.study.datasets import Split

SPLITS = ("train", "valid", "test")
SplitName = Literal["train", "valid", "test"]

LEAST_FOR_VALID = 10
"""From so many prompts on, `valid` has at least one when its share is above 0."""


def split_sizes(prompts: int, settings: Split) -> dict[SplitName, int]:
    """Prompts in each split: valid and test are their rounded shares, train is the rest."""
    train, valid = Fraction(str(settings.train)), Fraction(str(settings.valid))
    in_valid = _rounded(valid * prompts)
    if valid and prompts >= LEAST_FOR_VALID:
        in_valid = max(in_valid, 1)
    in_test = min(_rounded(max(1 - train - valid, Fraction(0)) * prompts), prompts - in_valid)
    return {"train": prompts - in_valid - in_test, "valid": in_valid, "test": in_test}


def _rounded(quota: Fraction) -> int:
    return floor(quota + Fraction(1, 2))


def assign_splits(prompt_ids: Iterable[str], settings: Split) -> dict[str, SplitName]:
    """Split of every prompt. One prompt more or less moves at most three others, those at the cuts."""
    ordered = sorted(set(prompt_ids), key=lambda prompt_id: (rank(settings.seed, "split", prompt_id), prompt_id))
    sizes = split_sizes(len(ordered), settings)
    names: list[SplitName] = ["valid"] * sizes["valid"] + ["test"] * sizes["test"] + ["train"] * sizes["train"]
    return dict(zip(ordered, names, strict=True))


def arrange(examples: Iterable[Example], order: Literal["shuffle", "source"], seed: int) -> list[Example]:
    """The examples in file order: by source and prompt, or by a seeded hash of the prompt."""
    if order == "source":
        return sorted(examples, key=lambda one: one.key)
    return sorted(examples, key=lambda one: (rank(seed, "order", one.prompt_id), one.key))
