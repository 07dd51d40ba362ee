"""The answers that a dataset is made of: one file a source, read as often as a pass needs it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from stillhouse.datasets.batches import AnswerFile, Batch, RowGroup, open_answers
from stillhouse.datasets.in_turn import in_turn
from stillhouse.datasets.scores import Scores
from stillhouse.errors import InputError
from stillhouse.study.datasets import Source

Made = TypeVar("Made")

IDENTITY = ("prompt_id", "set", "id", "sample")


@dataclass(frozen=True)
class Answers:
    """The sources in the study's order, the answers of each with their scores, and the first row of each among all."""

    sources: tuple[Source, ...]
    paths: tuple[Path, ...]
    starts: tuple[int, ...]
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """By generation; a source without scores has null for all."""

    @classmethod
    def of(
        cls,
        sources: list[Source],
        answers: Mapping[str, Path],
        columns: tuple[str, ...],
        quality: Mapping[str, Path] | None = None,
    ) -> "Answers":
        """Open every source's file once; raises `InputError` where one is missing or lacks `columns`.

        `quality` is quality.parquet by generation; a source that is filtered by scores needs its own.
        """
        paths_of_scores = quality or {}
        paths, starts = [], [0]
        for number, source in enumerate(sources):
            if source.generation not in answers:
                raise InputError(f"source {number + 1}: no answers were given for generation {source.generation!r}")
            if source.generation not in paths_of_scores and any(one.quality for one in source.filters):
                raise InputError(f"source {number + 1}: no scores were given for generation {source.generation!r}")
            paths.append(Path(answers[source.generation]))
            starts.append(starts[-1] + open_answers(paths[-1], columns).rows)
        scores = {name: Scores(Path(path)) for name, path in paths_of_scores.items()}
        return cls(tuple(sources), tuple(paths), tuple(starts), scores)

    @property
    def rows(self) -> int:
        """Rows of all sources."""
        return self.starts[-1]

    def batches(self, columns: tuple[str, ...], wanted: np.ndarray | None = None) -> Iterator[Batch]:
        """All rows in file order, source after source; with a mask over them only the parts that hold a wanted row."""
        for number, (source, path) in enumerate(zip(self.sources, self.paths, strict=True)):
            own = None if wanted is None else wanted[self.starts[number] : self.starts[number + 1]]
            if own is None or own.any():
                file: AnswerFile = open_answers(path, columns, scores=self.scores.get(source.generation))
                yield from file.batches(number, source.generation, wanted=own)

    def groups(self, columns: tuple[str, ...], wanted: np.ndarray) -> Iterator[RowGroup]:
        """The row groups that hold a wanted row (a mask over all), in file order, not read yet."""
        for number, (source, path) in enumerate(zip(self.sources, self.paths, strict=True)):
            own = wanted[self.starts[number] : self.starts[number + 1]]
            if own.any():
                file = open_answers(path, columns, scores=self.scores.get(source.generation))
                yield from file.groups(number, source.generation, own)

    def rows_of(self, batch: Batch) -> slice:
        """Where the rows of a batch stand among all."""
        first = self.starts[batch.source] + batch.start
        return slice(first, first + len(batch))


def in_threads(work: Callable[[Batch], Made], batches: Iterator[Batch], threads: int) -> Iterator[tuple[Batch, Made]]:
    """Every batch with what `work` makes of it, `in_turn`; its `InputError` is told with the file that the batch is of."""
    return in_turn(partial(_told, work), batches, threads)


def _told(work: Callable[[Batch], Made], batch: Batch) -> Made:
    try:
        return work(batch)
    except InputError as error:
        raise InputError(f"{batch.path}: {error}") from None
