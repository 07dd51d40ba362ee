"""Builds a dataset: answers in; splits, report and card out."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.datasets.card import render_card
from stillhouse.datasets.decontaminate import decontaminate
from stillhouse.datasets.filters import ALWAYS, make_filters
from stillhouse.datasets.mixing import plan_mix, sample
from stillhouse.datasets.near_duplicates import drop_exact, drop_near, drop_repeats
from stillhouse.datasets.pairs import make_pairs
from stillhouse.datasets.rows import PREFERENCE_SCHEMA, SFT_SCHEMA, Example, Row, read_prompts, read_rows
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.split import SPLITS, SplitName, arrange, assign_splits
from stillhouse.datasets.tally import SourceTally, Tally, make_report
from stillhouse.errors import InputError
from stillhouse.provenance.files import write_json, write_parquet, write_text
from stillhouse.study.datasets import Dataset, Source

logger = logging.getLogger(__name__)


def build_dataset(
    settings: BuildSettings,
    answers: Mapping[str, Path],
    held_out: list[Path],
    output: Path,
    markers: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Build one dataset into the folder `output`: the three splits, report.json and README.md.

    Args:
        settings: name and section of the dataset.
        answers: generation -> its answers.parquet, for every source.
        held_out: prompt files (parquet) of the evaluations to decontaminate against; unused without that setting.
        output: folder that receives the five files; each is written atomically.
        markers: markers file as the study names it -> where it lies; others are opened under their own name.

    Returns:
        Facts for the record: row counts of the splits and sources, realised shares, warnings.

    Raises:
        InputError: an input is missing or malformed, or the shares cannot be realised.
        RuntimeError: rows were lost or counted twice (a bug).
    """
    dataset = settings.dataset
    tally = Tally([SourceTally(source.generation, source.share) for source in dataset.sources])
    rows: list[Row] = []
    for number, source in enumerate(dataset.sources):
        rows.extend(_filtered(number, source, answers, dataset, tally, markers or {}))
    rows = _unleaked(_distinct(rows, dataset, tally), dataset, held_out, tally)
    mixed = _mixed(_examples(rows, dataset, tally), dataset, tally)
    tally.check()
    splits = _split(mixed, dataset)
    _warn_empty(splits, dataset, tally)
    return _write(settings, splits, make_report(tally, dataset, splits), Path(output))


def _filtered(
    number: int,
    source: Source,
    answers: Mapping[str, Path],
    dataset: Dataset,
    tally: Tally,
    markers: Mapping[str, Path],
) -> list[Row]:
    """Rows of one source that pass its filters; every loss is counted by filter and by reason."""
    if source.generation not in answers:
        raise InputError(f"source {number + 1}: no answers were given for generation {source.generation!r}")
    rows = read_rows(Path(answers[source.generation]), number, source.generation)
    books = tally.sources[number]
    books.rows_in = len(rows)
    # Pairs are made of the candidates, whose texts `pairs` checks; the final answer need not be one of them.
    always = ALWAYS if dataset.format == "sft" else ()
    for one in (*always, *make_filters(source.filters, markers)):
        kept = [row for row in rows if one.keep(row.data)]
        books.dropped[one.reason] += len(rows) - len(kept)
        books.filters.append({"filter": one.label, "dropped": len(rows) - len(kept)})
        rows = kept
    return rows


def _distinct(rows: list[Row], dataset: Dataset, tally: Tally) -> list[Row]:
    """Rows without repeats, and without duplicate prompts when the study asks for that."""
    same = ("answer",) if dataset.format == "sft" else ("answer", "draft", "transcript")
    repeats = drop_repeats(rows, same)
    tally.drop_duplicates(repeats.dropped, "exact_duplicate")
    if dataset.near_duplicates is None:
        return repeats.kept
    exact = drop_exact(repeats.kept)
    tally.drop_duplicates(exact.dropped, "exact_duplicate")
    near = drop_near(exact.kept, dataset.near_duplicates.threshold)
    tally.drop_duplicates(near.dropped, "near_duplicate")
    return near.kept


def _unleaked(rows: list[Row], dataset: Dataset, held_out: list[Path], tally: Tally) -> list[Row]:
    """Rows that no held-out prompt leaks into."""
    if dataset.decontaminate is None:
        return rows
    kept, hits = decontaminate(rows, read_prompts(held_out), dataset.decontaminate)
    tally.drop((hit.row for hit in hits), "decontamination")
    tally.hits.extend(hits)
    return kept


def _examples(rows: list[Row], dataset: Dataset, tally: Tally) -> list[list[Example]]:
    """Examples of every source, in the order of the sources."""
    by_source = [[row for row in rows if row.source == number] for number in range(len(dataset.sources))]
    if dataset.format == "sft":
        return [[_sft_example(row) for row in own] for own in by_source]
    made = [make_pairs(own, dataset.pairs) for own in by_source]
    for number, paired in enumerate(made):
        tally.enter_pairs(number, paired)
    return [paired.examples for paired in made]


def _sft_example(row: Row) -> Example:
    completion = [{"role": "assistant", "content": row.data["answer"]}]
    columns = {**row.ancestry(), "prompt": row.prompt.chat(), "completion": completion}
    return Example(row.source, row.prompt.prompt_id, row.key[2:], columns)


def _mixed(offered: list[list[Example]], dataset: Dataset, tally: Tally) -> list[Example]:
    """Examples of all sources in the shares that the study wants."""
    mix = plan_mix([len(own) for own in offered], [source.share for source in dataset.sources])
    tally.warn_short(mix)
    mixed: list[Example] = []
    for number, (own, count) in enumerate(zip(offered, mix.counts, strict=True)):
        taken = sample(own, count, dataset.split.seed)
        tally.enter_mix(number, taken, own)
        mixed.extend(taken)
    return mixed


def _split(examples: list[Example], dataset: Dataset) -> dict[SplitName, list[Example]]:
    """The three splits, each in file order."""
    assigned = assign_splits((one.prompt_id for one in examples), dataset.split)
    ordered = arrange(examples, dataset.order, dataset.split.seed)
    splits = {name: [one for one in ordered if assigned[one.prompt_id] == name] for name in SPLITS}
    if sum(map(len, splits.values())) != len(examples):
        raise RuntimeError(f"{len(examples)} rows were split into {[len(rows) for rows in splits.values()]}")
    return splits


def _warn_empty(splits: Mapping[SplitName, list[Example]], dataset: Dataset, tally: Tally) -> None:
    if dataset.split.train > 0 and not splits["train"]:
        tally.warnings.append("the train split is empty: nothing can be trained on this dataset")
    for text in tally.warnings:
        logger.warning("%s", text)


def _write(
    settings: BuildSettings, splits: Mapping[SplitName, list[Example]], report: dict[str, Any], output: Path
) -> dict[str, Any]:
    """Write the five files; returns the facts for the record."""
    schema = SFT_SCHEMA if settings.dataset.format == "sft" else PREFERENCE_SCHEMA
    for name, examples in splits.items():
        write_parquet(output / f"{name}.parquet", [one.columns for one in examples], schema)
    write_json(output / "report.json", report)
    write_text(output / "README.md", render_card(settings, report, schema.names))
    logger.info("%s: %d rows, %s", settings.name, report["rows"], report["splits"])
    told = ("generation", "rows_in", "rows_kept", "realised_share")
    return {
        "rows": report["rows"],
        "splits": report["splits"],
        "sources": [{name: source[name] for name in told} for source in report["sources"]],
        "warnings": report["warnings"],
    }
