"""Builds a dataset: answers in; splits and report out."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.datasets.decontaminate import decontaminate
from stillhouse.datasets.filters import ALWAYS, make_filters
from stillhouse.datasets.mixing import plan_mix, sample
from stillhouse.datasets.near_duplicates import drop_exact, drop_near, drop_repeats
from stillhouse.datasets.pairs import make_pairs
from stillhouse.datasets.rows import SCHEMAS, Example, Row, read_failures, read_prompts, read_rows
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.split import SPLITS, SplitName, arrange, assign_splits
from stillhouse.datasets.tally import SourceTally, Tally, make_report
from stillhouse.errors import InputError
from stillhouse.provenance.files import write_json, write_parquet
from stillhouse.study.datasets import Dataset, Source

logger = logging.getLogger(__name__)


def build_dataset(
    settings: BuildSettings,
    answers: Mapping[str, Path],
    held_out: list[Path],
    output: Path,
    markers: Mapping[str, Path] | None = None,
    failures: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Build one dataset into the folder `output`: the three splits and report.json.

    Args:
        settings: name and section of the dataset.
        answers: generation -> its answers.parquet, for every source.
        held_out: prompt files (parquet) of the evaluations to decontaminate against; unused without that setting.
        output: folder that receives the four files; each is written atomically.
        markers: markers file as the study names it -> where it lies; others are opened under their own name.
        failures: generation -> its failures.parquet, with which the report's flow begins where it is given.

    Returns:
        Facts for the record: row counts of the splits and sources, realised shares, warnings.

    Raises:
        InputError: an input is missing or malformed, or the shares cannot be realised.
        RuntimeError: rows were lost or counted twice (a bug).
    """
    dataset = settings.dataset
    tally = Tally([SourceTally(source.generation, source.share) for source in dataset.sources])
    rows: list[Row] = []
    answered = [_answered(n, source, answers, failures or {}, tally) for n, source in enumerate(dataset.sources)]
    for number, source in enumerate(dataset.sources):
        rows.extend(_filtered(answered[number], number, source, dataset, tally, markers or {}))
    rows = _unleaked(_distinct(rows, dataset, tally), dataset, held_out, tally)
    mixed = _mixed(_examples(rows, dataset, tally), dataset, tally)
    splits = _split(mixed, dataset, tally)
    tally.check()
    _warn_empty(splits, dataset, tally)
    return _write(settings, splits, make_report(tally, dataset, splits), Path(output))


def _answered(
    number: int, source: Source, answers: Mapping[str, Path], failures: Mapping[str, Path], tally: Tally
) -> list[Row]:
    """Answers of one source; with its failures they are all prompts that the generation was given."""
    name = source.generation
    if name not in answers:
        raise InputError(f"source {number + 1}: no answers were given for generation {name!r}")
    rows = read_rows(Path(answers[name]), number, name)
    tally.sources[number].rows_in = len(rows)
    if name in failures:
        failed = Counter(f"failed at {stage}" for stage in read_failures(Path(failures[name])))
        asked = len(rows) + failed.total()
        tally.flow.enter("generation", asked, len(rows), failed, source=name, unit="prompts")
    return rows


def _filtered(
    rows: list[Row], number: int, source: Source, dataset: Dataset, tally: Tally, markers: Mapping[str, Path]
) -> list[Row]:
    """Rows of one source that pass its filters; every loss is counted by filter and by reason."""
    books, came = tally.sources[number], len(rows)
    # Pairs are made of the candidates, whose texts `pairs` checks; the final answer need not be one of them.
    always = ALWAYS if dataset.format == "sft" else ()
    for one in (*always, *make_filters(source.filters, markers)):
        kept = [row for row in rows if one.keep(row.data)]
        books.dropped[one.reason] += len(rows) - len(kept)
        books.filters.append({"filter": one.label, "dropped": len(rows) - len(kept)})
        rows = kept
    tally.flow.enter("filters", came, len(rows), books.dropped, source=source.generation)
    return rows


def _distinct(rows: list[Row], dataset: Dataset, tally: Tally) -> list[Row]:
    """Rows without repeats, and without duplicate prompts when the study asks for that."""
    same = ("answer",) if dataset.format == "sft" else ("answer", "draft", "transcript")
    found = drop_repeats(rows, same)
    kept, exact, near = found.kept, found.dropped, []
    if dataset.near_duplicates is not None:
        normal = drop_exact(kept)
        nearly = drop_near(normal.kept, dataset.near_duplicates.threshold)
        kept, exact, near = nearly.kept, [*exact, *normal.dropped], nearly.dropped
    tally.drop_duplicates(exact, "exact_duplicate")
    tally.drop_duplicates(near, "near_duplicate")
    tally.flow.enter("duplicates", len(rows), len(kept), {"exact_duplicate": len(exact), "near_duplicate": len(near)})
    return kept


def _unleaked(rows: list[Row], dataset: Dataset, held_out: list[Path], tally: Tally) -> list[Row]:
    """Rows that no held-out prompt leaks into."""
    if dataset.decontaminate is None:
        return rows
    kept, hits = decontaminate(rows, read_prompts(held_out), dataset.decontaminate)
    tally.drop((hit.row for hit in hits), "decontamination")
    tally.hits.extend(hits)
    tally.flow.enter("decontamination", len(rows), len(kept), {"decontamination": len(hits)})
    return kept


def _examples(rows: list[Row], dataset: Dataset, tally: Tally) -> list[list[Example]]:
    """Examples of every source, in the order of the sources."""
    by_source = [[row for row in rows if row.source == number] for number in range(len(dataset.sources))]
    if dataset.format == "sft":
        return [[_sft_example(row) for row in own] for own in by_source]
    made = [make_pairs(own, dataset.pairs) for own in by_source]
    for number, paired in enumerate(made):
        tally.enter_pairs(number, paired)
    without, dropped = sum(len(one.without) for one in made), sum((one.dropped for one in made), Counter[str]())
    tally.flow.enter("pairing", len(rows), len(rows) - without, {"no_pair": without})
    considered, kept = sum(one.considered for one in made), sum(len(one.examples) for one in made)
    tally.flow.enter("pairs", considered, kept, dropped, unit="pairs")
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
    came = sum(map(len, offered))
    tally.flow.enter("mix", came, len(mixed), {"not_sampled": came - len(mixed)}, unit=_unit(dataset))
    return mixed


def _unit(dataset: Dataset) -> str:
    return "answers" if dataset.format == "sft" else "pairs"


def _split(examples: list[Example], dataset: Dataset, tally: Tally) -> dict[SplitName, list[Example]]:
    """The three splits, each in file order."""
    assigned = assign_splits((one.prompt_id for one in examples), dataset.split)
    ordered = arrange(examples, dataset.order, dataset.split.seed)
    splits = {name: [one for one in ordered if assigned[one.prompt_id] == name] for name in SPLITS}
    tally.flow.enter("splits", len(examples), sum(map(len, splits.values())), {}, unit=_unit(dataset))
    return splits


def _warn_empty(splits: Mapping[SplitName, list[Example]], dataset: Dataset, tally: Tally) -> None:
    if dataset.split.train > 0 and not splits["train"]:
        tally.warnings.append("the train split is empty: nothing can be trained on this dataset")
    for text in tally.warnings:
        logger.warning("%s", text)


def _write(
    settings: BuildSettings, splits: Mapping[SplitName, list[Example]], report: dict[str, Any], output: Path
) -> dict[str, Any]:
    """Write the four files; returns the facts for the record."""
    for name, examples in splits.items():
        write_parquet(output / f"{name}.parquet", [one.columns for one in examples], SCHEMAS[settings.dataset.format])
    write_json(output / "report.json", report)
    logger.info("%s: %d rows, %s", settings.name, report["rows"], report["splits"])
    told = ("generation", "rows_in", "rows_kept", "realised_share")
    return {
        "rows": report["rows"],
        "splits": report["splits"],
        "sources": [{name: source[name] for name in told} for source in report["sources"]],
        "flow": report["flow"],
        "warnings": report["warnings"],
    }
