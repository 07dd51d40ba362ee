"""Which examples stand in which split, how often, and where: the mix, the splits and the order, over arrays alone."""

from dataclasses import dataclass

import numpy as np

from stillhouse.datasets.curriculum import level_values, shuffled
from stillhouse.datasets.facts import ALIVE, Facts, Fates
from stillhouse.datasets.mixing import Offer, Taken, mix
from stillhouse.datasets.ordering import order_of
from stillhouse.datasets.pairing import Examples
from stillhouse.datasets.split import SPLITS, split_of, stratified
from stillhouse.datasets.straddling import Alike, Straddler
from stillhouse.study.datasets import Curriculum, Dataset


@dataclass(frozen=True)
class Choice:
    """The entries of the dataset, each an example (its position) and a copy of it, with its split and place there."""

    fate: np.ndarray
    """Of every example."""
    example: np.ndarray
    copy: np.ndarray
    split: np.ndarray
    place: np.ndarray
    short: dict[int, int]
    straddlers: list[Straddler]

    def rows_in(self, split: int) -> int:
        """Rows of one split's file."""
        return int((self.split == split).sum())


def choose(
    examples: Examples, facts: Facts, fates: Fates, dataset: Dataset, alike: Alike | None, levels: list[str]
) -> Choice:
    """Mix, split and order the examples.

    A row outside train whose prompt is nearly that of a row in train goes; the mix is then made again without it, so
    that shares hold for what is left. Raises `InputError` when the shares cannot be realised.
    """
    pool = np.arange(len(examples))
    straddlers: list[Straddler] = []
    while True:
        taken = _mixed(examples, facts, dataset, pool)
        chosen = pool[taken.example]
        split = _split(examples.row[chosen], facts, dataset)
        found = _straddlers(examples.row[chosen], split, facts, alike)
        if not found:
            break
        straddlers += found
        pool = pool[~np.isin(examples.row[pool], [one.row for one in found])]
    fate = _fates(examples, fates, pool, taken, straddlers)
    place = _places(examples, facts, dataset, chosen, taken.copy, split, levels)
    return Choice(fate, chosen, taken.copy, split, place, taken.short, straddlers)


def _mixed(examples: Examples, facts: Facts, dataset: Dataset, pool: np.ndarray) -> Taken:
    rows = examples.row[pool]
    by_tokens = dataset.share_of == "tokens" and examples.tokens is not None
    weight = examples.tokens[pool] if by_tokens and examples.tokens is not None else np.ones(len(pool), np.int64)
    offer = Offer(facts.source[rows], facts.keys[rows], facts.times[rows], weight)
    shares, limits = ([getattr(source, name) for source in dataset.sources] for name in ("share", "limit"))
    return mix(offer, shares, limits, dataset.split.seed)


def _split(rows: np.ndarray, facts: Facts, dataset: Dataset) -> np.ndarray:
    if dataset.split.stratify:
        return stratified(facts.keys[rows], facts.category[rows], dataset.split)
    return split_of(facts.keys[rows], dataset.split)


def _straddlers(rows: np.ndarray, split: np.ndarray, facts: Facts, alike: Alike | None) -> list[Straddler]:
    if alike is None:
        return []
    own, first = np.unique(rows, return_index=True)
    return alike.straddlers(own, split[first], facts.place)


def _fates(
    examples: Examples,
    fates: Fates,
    pool: np.ndarray,
    taken: Taken,
    straddlers: list[Straddler],
) -> np.ndarray:
    """What became of every example."""
    fate = np.zeros(len(examples), np.int16)
    fate[pool] = fates.number("mix", "not_sampled")
    fate[pool[taken.thinned]] = fates.number("mix", "repeat_below_one")
    fate[pool[taken.over_limit]] = fates.number("mix", "over_limit")
    fate[pool[taken.example]] = ALIVE
    for number, name in enumerate(SPLITS):
        rows = [one.row for one in straddlers if one.near == number]
        if rows:
            fate[np.isin(examples.row, rows)] = fates.number("splits", f"near_of_{name}")
    return fate


def _places(
    examples: Examples,
    facts: Facts,
    dataset: Dataset,
    chosen: np.ndarray,
    copy: np.ndarray,
    split: np.ndarray,
    levels: list[str],
) -> np.ndarray:
    """Place of every entry in its split's file."""
    rows = examples.row[chosen]
    keys: list[np.ndarray] = [copy, examples.number[chosen], facts.place[rows]]
    if dataset.order != "source":
        apart = (
            examples.number[chosen]
            + (facts.sample[rows].astype(np.int64) << 16)
            + (facts.source[rows].astype(np.int64) << 40)
        )
        keys.append(shuffled(dataset.split.seed, facts.keys[rows], apart, copy))
    if isinstance(dataset.order, Curriculum):
        values = _values(dataset.order, examples, facts, chosen, levels)
        keys.append(-values if dataset.order.descending else values)  # nan comes last either way
    order = order_of(*keys, split)
    place = np.empty(len(order), np.int64)
    counts = np.bincount(split, minlength=len(SPLITS))
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place


def _values(order: Curriculum, examples: Examples, facts: Facts, chosen: np.ndarray, levels: list[str]) -> np.ndarray:
    if order.by == "words":
        return examples.words[chosen].astype(np.float64)
    if order.by == "tokens" and examples.tokens is not None:
        return examples.tokens[chosen].astype(np.float64)
    return level_values(facts.level[examples.row[chosen]], levels)


def settle_rows(examples: Examples, choice: Choice, facts: Facts, fates: Fates, without: str) -> None:
    """Enter into `facts.fate` what became of the rows: one stays with any of its examples, and goes with the last."""
    left = np.flatnonzero(facts.alive)
    gone = np.zeros(len(facts), np.int16)
    last = {stage: fates.of_stage(stage) for stage in ("mix", "splits")}
    for stage in ("mix", "splits"):  # of several, the later stage tells
        own = np.isin(choice.fate, last[stage])
        gone[examples.row[own]] = choice.fate[own]
    kept = np.zeros(len(facts), bool)
    kept[examples.row[choice.fate == ALIVE]] = True
    made = np.zeros(len(facts), bool)
    made[examples.row] = True
    facts.fate[left] = np.where(kept[left], ALIVE, np.where(made[left], gone[left], fates.number("pairing", without)))
