"""Where the prompts of a set come from: files of any format, or a dataset, as streams of records."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.hub import HubDataset
from stillhouse.prompts.json_lists import read_json
from stillhouse.prompts.records import Record, columns_of_csv, flawed, read_csv, read_json_lines, read_plain_lines
from stillhouse.prompts.tables import check_own_columns, columns_of_parquet, read_parquet
from stillhouse.study.prompt_sets import FILE_ENDINGS, Hub

READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    "jsonl": read_json_lines,
    "json": read_json,
    "lines": read_plain_lines,
    "csv": partial(read_csv, delimiter=","),
    "tsv": partial(read_csv, delimiter="\t"),
    "parquet": read_parquet,
}
COLUMNS: dict[str, Callable[[Path], list[str] | None]] = {
    "csv": partial(columns_of_csv, delimiter=","),
    "tsv": partial(columns_of_csv, delimiter="\t"),
    "parquet": columns_of_parquet,
}
"""Formats whose columns are known before the first row."""


@dataclass(frozen=True)
class Source:
    """A file or a dataset: how messages call it (`label`), how artefacts do (`name`), and its records, as often as asked."""

    label: str
    name: str
    read: Callable[[], Iterator[Record]]
    unit: str = "line"

    def records(self) -> Iterator[Record]:
        """Its records; of an empty source the only one is flawed. Raises `InputError`."""
        empty = True
        for record in self.read():
            empty = False
            yield record
        if empty:
            yield flawed(0, "", Flaw("empty_file", "no prompts in it"))

    def place(self, line: int) -> str:
        """A record as messages name it."""
        return f"{self.label} {self.unit} {line}" if line else self.label


def sources_of(
    files: Sequence[Path], given: str | None, columns: Mapping[str, str], hub: Hub | None = None
) -> list[Source]:
    """The sources of a set: its dataset, or its files in the order of their names.

    Args:
        files: the files; what a dataset is read from is not asked for.
        given: the format of all files, None: each by its ending.
        columns: own field -> column or dotted path.
        hub: a dataset instead of files.

    Raises:
        InputError: there is no file, one is missing, a dataset cannot be had, or a table has no column with prompts.
    """
    if hub is not None:
        return [_hub_source(hub, columns)]
    if not files:
        raise InputError("no file to read prompts from")
    ordered = sorted(files)
    root = os.path.commonpath([file.parent for file in ordered])
    return [_file_source(file, format_of(file, given), os.path.relpath(file, root), columns) for file in ordered]


def format_of(file: Path, given: str | None) -> str:
    """The format of a file: `given`, or by its ending; what has another ending holds JSON lines."""
    if given is not None:
        return given
    name = file.name.lower().removesuffix(".gz")
    return FILE_ENDINGS.get(Path(name).suffix, "jsonl")


def _file_source(file: Path, kind: str, name: str, columns: Mapping[str, str]) -> Source:
    found = COLUMNS[kind](file) if kind in COLUMNS else None
    if found is not None:
        check_own_columns(str(file), found, _wanted(found, columns))
    return Source(str(file), name, partial(READERS[kind], file), "row" if kind == "parquet" else "line")


def _hub_source(hub: Hub, columns: Mapping[str, str]) -> Source:
    data = HubDataset(hub)
    found = data.columns()
    check_own_columns(data.place, found, _wanted(found, columns))
    return Source(data.place, Path(hub.name).name, data.rows, "row")


def _wanted(found: list[str], columns: Mapping[str, str]) -> list[str]:
    """The columns of which a table needs one, for a set with this mapping."""
    paths = [columns[field] for field in ("messages", "prompt") if field in columns] or ["prompt", "messages"]
    return [path if path in found else path.split(".")[0] for path in paths]
