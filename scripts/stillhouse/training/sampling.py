"""The order of rows: a pure function of seed and epoch, so that a training that goes on sees the same rows."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

MOST_BATCHES = 50
"""Batches that are sorted together."""


class EpochSampler(Sampler[int]):
    """Every row once an epoch, shuffled; with `grouped`, batches of rows of like length, in shuffled order.

    Rows are sorted by length within chunks of a quarter of the split at most, so that epochs differ.
    """

    def __init__(self, lengths: list[int], batch: int, seed: int, grouped: bool) -> None:
        self._lengths, self._batch, self._seed, self._grouped = lengths, batch, seed, grouped
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order is asked for next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        if not self._grouped:
            return iter(order)
        whole = len(order) - len(order) % self._batch  # the incomplete batch stays last
        chunk = self._batch * max(1, min(whole // (self._batch * 4), MOST_BATCHES))
        batches: list[list[int]] = []
        for start in range(0, whole, chunk):
            rows = sorted(order[start : min(start + chunk, whole)], key=lambda row: -self._lengths[row])
            batches += [rows[place : place + self._batch] for place in range(0, len(rows), self._batch)]
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        return iter([row for place in shuffled for row in batches[place]] + order[whole:])
