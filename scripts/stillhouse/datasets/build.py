"""Builds a dataset: answers in; splits, report and dropped rows out.

Three steps over any number of rows, in bounded memory: scan (read, filter and measure every row, keep numbers only),
select (duplicates, leaks, examples, mix, splits and order, over those numbers), and write (read once more).
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stillhouse.datasets.books import enter_flow, source_books
from stillhouse.datasets.choice import Choice, choose, settle_rows
from stillhouse.datasets.decontaminate import HeldOut, Hit
from stillhouse.datasets.examples import Format, FormatContext
from stillhouse.datasets.facts import ALIVE
from stillhouse.datasets.flow import Flow
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.naming import Details
from stillhouse.datasets.pairing import CountTokens, Examples, make_examples, one_a_row
from stillhouse.datasets.report import make_report
from stillhouse.datasets.rows import Prompt, read_failures, read_others, read_prompts
from stillhouse.datasets.scan import GROUPING_THRESHOLD, Scan, Scanner
from stillhouse.datasets.select import Duplicates, Texts, drop_duplicates, drop_leaks, order_and_repeats
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.sources import Answers
from stillhouse.datasets.split import SPLITS
from stillhouse.datasets.straddling import Alike
from stillhouse.datasets.writing import Entries, SplitWriter
from stillhouse.errors import InputError
from stillhouse.provenance.files import write_json
from stillhouse.study.datasets import Curriculum, Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Inputs:
    """The files of a build, as `build_dataset` takes them."""

    answers: Mapping[str, Path]
    held_out: list[Path]
    files: Mapping[str, Path]
    failures: Mapping[str, Path]
    others: Mapping[str, Path]
    quality: Mapping[str, Path]
    tokenizer: Path | None


def build_dataset(
    settings: BuildSettings,
    answers: Mapping[str, Path],
    held_out: list[Path],
    output: Path,
    *,
    files: Mapping[str, Path] | None = None,
    failures: Mapping[str, Path] | None = None,
    others: Mapping[str, Path] | None = None,
    quality: Mapping[str, Path] | None = None,
    tokenizer: Path | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Build one dataset into the folder `output`: the three splits, dropped.parquet and report.json.

    Each file is written atomically, and its bytes depend neither on `threads` nor on the order of the input rows.

    Args:
        settings: name and section of the dataset.
        answers: generation -> its answers.parquet, for every source.
        held_out: prompt files (parquet) of the evaluations to decontaminate against; unused without that setting.
        output: folder that receives the files.
        files: markers files and the user's own Python files as the study names them -> where they lie; others are
            opened under their own name.
        failures: generation -> its failures.parquet, with which the report's flow begins where it is given.
        others: generation -> answers.parquet of models whose answers may be the rejected side of pairs.
        quality: generation -> quality.parquet, where filters or the order go by scores.
        tokenizer: folder of the model whose tokenizer counts; needed with `tokens`.
        threads: threads that work on batches of rows beside the one that reads.

    Returns:
        Facts for the record: row counts of the splits and sources, realised shares, warnings.

    Raises:
        InputError: an input is missing or malformed, or the shares cannot be realised.
        RuntimeError: rows were lost or counted twice (a bug).
    """
    inputs = _Inputs(answers, held_out, files or {}, failures or {}, others or {}, quality or {}, tokenizer)
    report = _Build(settings.dataset, inputs, threads).run(Path(output))
    for text in report["warnings"]:
        logger.warning("%s", text)
    logger.info("%s: %d rows, %s", settings.name, report["rows"], report["splits"])
    told = ("generation", "rows_in", "rows_kept", "realised_share")
    return {
        "rows": report["rows"],
        "splits": report["splits"],
        "sources": [{name: source[name] for name in told} for source in report["sources"]],
        "flow": report["flow"],
        "warnings": report["warnings"],
    }


class _Build:
    """One build: its settings and inputs, read or checked before the first row is."""

    def __init__(self, dataset: Dataset, inputs: _Inputs, threads: int) -> None:
        self._dataset = dataset
        self._threads = threads
        self._form: Format = FORMATS[dataset.format]
        self._inputs = inputs
        self._flow = Flow()
        self._counter = self._token_counter()
        self._held_out: list[Prompt] = read_prompts(inputs.held_out) if dataset.decontaminate else []
        leaks = HeldOut(self._held_out, dataset.decontaminate) if dataset.decontaminate else None
        self._scanner = Scanner(dataset, inputs.files, leaks, self._counter)
        self._answers = Answers.of(dataset.sources, inputs.answers, self._scanner.columns, inputs.quality)
        self._context = FormatContext(dataset, self._others(), self._scanner.filters)

    def run(self, output: Path) -> dict[str, Any]:
        """Everything; returns the report."""
        self._enter_generations()
        scan = self._scanner.scan(self._answers, self._threads)
        duplicates, hits = self._drop(scan)
        examples = self._examples(scan)
        alike = self._alike(scan)
        choice = choose(examples, scan.facts, scan.fates, self._dataset, alike, scan.levels.words)
        settle_rows(examples, choice, scan.facts, scan.fates, self._form.without)
        books = source_books(scan, examples, choice, self._dataset, self._form)
        enter_flow(self._flow, scan, examples, choice, self._dataset, self._form)
        self._flow.check()
        for number, one in enumerate(books):
            one.check(number)
        place = scan.facts.place
        details = Details(self._answers, duplicates, hits, choice.straddlers, self._held_out, place)
        report = make_report(self._dataset, scan, examples, choice, books, self._flow, details, duplicates)
        self._write(output, scan, Entries.of(examples, choice), details)
        self._check_files(output, scan, examples, choice)
        report["tokens"] = self._token_statistics(output, report)
        write_json(output / "report.json", report)
        return report

    def _token_counter(self) -> Any:
        """The tokenizer, where the study wants lengths in tokens."""
        if self._dataset.tokens is None:
            return None
        if self._inputs.tokenizer is None:
            raise InputError(f"tokens: no tokenizer of model {self._dataset.tokens.model!r} was given")
        from stillhouse.datasets.tokens import Counter as TokenCounter

        return TokenCounter(self._inputs.tokenizer)

    def _others(self) -> dict[str, dict[tuple[str, int], str]]:
        wanted = self._dataset.pairs.generations if self._dataset.format == "preference" else []
        missing = [name for name in wanted if name not in self._inputs.others]
        if missing:
            raise InputError(f"pairs.rejected: no answers were given for generation {missing[0]!r}")
        return {name: read_others(Path(self._inputs.others[name])) for name in wanted}

    def _enter_generations(self) -> None:
        """With the failures of a generation its answers are all prompts that it was given."""
        starts = self._answers.starts
        for number, source in enumerate(self._dataset.sources):
            if source.generation in self._inputs.failures:
                stages = read_failures(Path(self._inputs.failures[source.generation]))
                failed = Counter(f"failed at {stage}" for stage in stages)
                rows = starts[number + 1] - starts[number]
                name = source.generation
                self._flow.enter("generation", rows + len(stages), rows, failed, source=name, unit="prompts")

    def _drop(self, scan: Scan) -> tuple[Duplicates, list[Hit]]:
        """Duplicates and leaks."""
        near = self._dataset.near_duplicates
        duplicates = order_and_repeats(scan, self._answers, self._dataset, self._scanner.columns)
        if near is not None:
            drop_duplicates(scan, self._answers, near, duplicates, self._threads)
        return duplicates, [scan.hits[number] for number in drop_leaks(scan)]

    def _examples(self, scan: Scan) -> Examples:
        order = self._dataset.order
        by_tokens = self._dataset.share_of == "tokens" or (isinstance(order, Curriculum) and order.by == "tokens")
        count: CountTokens | None = self._counter.count_rows if by_tokens else None
        if self._form.table is not None and count is None:
            return one_a_row(scan.facts)
        return make_examples(self._answers, scan.facts, self._form, self._context, count)

    def _alike(self, scan: Scan) -> Alike | None:
        own = scan.facts.settings[scan.facts.alive]
        if scan.grouping is None or (scan.grouping is scan.signatures and (own == own[:1]).all()):
            return None  # of prompts alike only one is left
        pairs = scan.grouping.pairs(Texts(self._answers, "prompt", self._threads), scan.facts.alive)
        return Alike(replace(pairs, threshold=GROUPING_THRESHOLD))

    def _write(self, output: Path, scan: Scan, entries: Entries, details: Details) -> None:
        writer = SplitWriter(self._form, self._context, scan.rich)
        writer.write(output, self._answers, scan.facts, scan.fates, entries, details, self._threads)

    def _check_files(self, output: Path, scan: Scan, examples: Examples, choice: Choice) -> None:
        """Rows behind the splits and dropped rows are all rows, and the files hold them."""
        told = np.zeros(len(scan.facts), bool)
        told[examples.row[choice.example]] = True
        behind = int(told.sum())
        kept = int((scan.facts.fate == ALIVE).sum())
        files = {name: pq.read_metadata(output / f"{name}.parquet").num_rows for name in (*SPLITS, "dropped")}
        written = sum(files[name] for name in SPLITS)
        if behind != kept or kept + files["dropped"] != len(scan.facts) or written != len(choice.example):
            raise RuntimeError(f"{len(scan.facts)} rows in, {kept} kept, {behind} behind the splits; files: {files}")

    def _token_statistics(self, output: Path, report: dict[str, Any]) -> dict[str, Any] | None:
        """Lengths in tokens out of the written splits; fills the realised mix by tokens where it is told by rows alone."""
        if self._dataset.tokens is None:
            return None
        from stillhouse.datasets.tokens import statistics

        splits = {name: output / f"{name}.parquet" for name in SPLITS}
        found = statistics(self._counter, splits, self._dataset.tokens.max_length)
        shares = {one["generation"]: one["share_of_tokens"] for one in found["mix"]}
        sources = report["mix"]["sources"]
        for source in sources:
            alone = sum(one["generation"] == source["generation"] for one in sources) == 1
            if source["tokens"] is None and alone:
                source["tokens"] = shares.get(source["generation"], 0.0)
        return found
