"""The books of a build: where every row of every source went. They must balance before anything is written."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stillhouse.datasets.decontaminate import Hit
from stillhouse.datasets.flow import Flow
from stillhouse.datasets.mixing import Mix
from stillhouse.datasets.near_duplicates import Duplicate
from stillhouse.datasets.pairs import Paired
from stillhouse.datasets.rows import Example, Row
from stillhouse.datasets.split import SPLITS, SplitName
from stillhouse.study.datasets import Dataset


@dataclass
class PairTally:
    """Pairs of one source: `considered` = `kept` + everything in `dropped`."""

    considered: int
    dropped: Counter[str]
    kept: int = 0


@dataclass
class SourceTally:
    """Rows of one source: `rows_in` = `rows_kept` + everything in `dropped`."""

    generation: str
    share: float | None
    rows_in: int = 0
    rows_kept: int = 0
    examples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    filters: list[dict[str, Any]] = field(default_factory=list)
    pairs: PairTally | None = None


@dataclass
class Tally:
    """Books of all sources, and the details that the report lists."""

    sources: list[SourceTally]
    duplicates: list[Duplicate] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    flow: Flow = field(default_factory=Flow)

    def drop(self, rows: Iterable[Row], reason: str) -> None:
        """Enter rows as dropped."""
        for row in rows:
            self.sources[row.source].dropped[reason] += 1

    def drop_duplicates(self, dropped: list[Duplicate], reason: str) -> None:
        """Enter rows as dropped, and which row stands for each."""
        self.drop((one.row for one in dropped), reason)
        self.duplicates.extend(dropped)

    def enter_pairs(self, source: int, paired: Paired) -> None:
        """Enter what became of a source's pairs; rows without any pair leave here."""
        self.sources[source].pairs = PairTally(paired.considered, paired.dropped)
        self.drop(paired.without, "no_pair")

    def enter_mix(self, source: int, taken: list[Example], offered: list[Example]) -> None:
        """Enter what sampling took. A row whose pairs were all left out is dropped, too."""
        books = self.sources[source]
        books.examples = len(taken)
        if books.pairs is None:
            books.dropped["not_sampled"] += len(offered) - len(taken)
            books.rows_kept = len(taken)
            return
        books.pairs.kept = len(taken)
        books.pairs.dropped["not_sampled"] += len(offered) - len(taken)
        books.rows_kept = len(_rows_behind(taken))
        books.dropped["not_sampled"] += len(_rows_behind(offered)) - books.rows_kept

    def warn_short(self, mix: Mix) -> None:
        """Say which shares could not be met."""
        for number, missing in sorted(mix.short.items()):
            books = self.sources[number]
            self.warnings.append(
                f"source {number + 1} ({books.generation}): share {books.share:g} needs {missing} more rows than the "
                f"{mix.counts[number]} that are left; all were taken"
            )

    def check(self) -> None:
        """Raises `RuntimeError` when a row is lost or counted twice: a bug, never the user's mistake."""
        self.flow.check()
        for number, books in enumerate(self.sources):
            accounts = [("rows", books.rows_in, books.rows_kept, books.dropped)]
            if books.pairs:
                accounts.append(("pairs", books.pairs.considered, books.pairs.kept, books.pairs.dropped))
            for what, came, kept, dropped in accounts:
                if came != kept + sum(dropped.values()):
                    raise RuntimeError(
                        f"source {number + 1} ({books.generation}): {came} {what} in, {kept} kept, "
                        f"{sum(dropped.values())} dropped: {dict(dropped)}"
                    )


def _rows_behind(examples: list[Example]) -> set[tuple[str, str, str, str]]:
    """Rows that examples were made of; a row's prompt may stand in two sets, and its answer twice."""
    return {(one.prompt_id, one.place[0], one.place[1], one.place[-1]) for one in examples}


def make_report(tally: Tally, dataset: Dataset, splits: dict[SplitName, list[Example]]) -> dict[str, Any]:
    """The build's report as plain JSON types; counts are rows of answers unless they stand under `pairs`."""
    total = sum(map(len, splits.values()))
    books = [_source_report(source, total) for source in tally.sources]
    return {
        "format": dataset.format,
        "rows": total,
        "prompts": len({one.prompt_id for rows in splits.values() for one in rows}),
        "splits": {name: len(splits[name]) for name in SPLITS},
        "sources": books,
        "flow": tally.flow.plain(),
        "duplicates": [_duplicate_report(one) for one in tally.duplicates],
        "decontamination": [_hit_report(one) for one in tally.hits],
        "warnings": tally.warnings,
    }


def _source_report(books: SourceTally, total: int) -> dict[str, Any]:
    report = {
        "generation": books.generation,
        "share": books.share,
        "realised_share": round(books.examples / total, 6) if total else None,
        "rows_in": books.rows_in,
        "rows_kept": books.rows_kept,
        "dropped": _plain(books.dropped),
        "filters": books.filters,
    }
    if books.pairs:
        pairs = books.pairs
        report["pairs"] = {"considered": pairs.considered, "kept": pairs.kept, "dropped": _plain(pairs.dropped)}
    return report


def _plain(counts: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _name(row: Row) -> dict[str, str]:
    return {"generation": row.generation, "prompt_id": row.prompt.prompt_id, "set": row.prompt.set, "id": row.prompt.id}


def _duplicate_report(one: Duplicate) -> dict[str, Any]:
    return {"row": _name(one.row), "kept": _name(one.kept), "similarity": round(one.similarity, 4)}


def _hit_report(hit: Hit) -> dict[str, Any]:
    held_out = {"prompt_id": hit.held_out.prompt_id, "set": hit.held_out.set, "id": hit.held_out.id}
    return {"row": _name(hit.row), "held_out": held_out, "test": hit.test, "similarity": hit.similarity}
