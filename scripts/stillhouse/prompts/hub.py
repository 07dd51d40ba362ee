"""Reads a dataset of the Hugging Face hub, or one that lies in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError
from stillhouse.prompts.records import Record
from stillhouse.prompts.tables import BATCH, readable_columns, rows_of_batches
from stillhouse.study.prompt_sets import Hub

if TYPE_CHECKING:
    import pyarrow as pa


class HubDataset:
    """A split of a dataset. Opening it raises `InputError` that says what was asked for and what is there."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        config, revision = hub.config and f" ({hub.config})", hub.revision and f" at {hub.revision}"
        self.place = f"dataset {hub.name}{config or ''}{revision or ''} split {hub.split}"
        self._data = self._open()

    def columns(self) -> list[str]:
        """Names of its columns that are read."""
        if self._data.features is not None:
            return readable_columns(self._data.features.arrow_schema)
        first = next(self._batches(1), None)  # a dataset that is streamed may tell its columns by its rows only
        return [] if first is None else readable_columns(first.schema)

    def rows(self) -> Iterator[Record]:
        """Its rows in their order, numbered from 1."""
        yield from rows_of_batches(self._batches(BATCH))

    def _batches(self, size: int) -> Iterator["pa.Table"]:
        with self._told():
            yield from self._data.with_format("arrow").iter(batch_size=size)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the readers of so many formats and the hub's client raise; they share no base class."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{self.place}: {_first_line(error)}{_advice(error)}") from error

    def _open(self) -> Any:
        import datasets

        datasets.disable_progress_bars()
        hub, folder = self.hub, Path(self.hub.name)
        with self._told():
            if not folder.is_dir():
                return datasets.load_dataset(hub.name, hub.config, split=hub.split, revision=hub.revision)
            if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
                # streamed: nothing of it lands in a cache, which could be older than the files
                return datasets.load_dataset(str(folder), hub.config, split=hub.split, streaming=True)
            saved = datasets.load_from_disk(str(folder))
            if not isinstance(saved, datasets.DatasetDict):
                return saved
            if hub.split not in saved:
                raise InputError(f"{self.place}: no such split; it has {', '.join(sorted(saved))}")
            return saved[hub.split]


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _advice(error: BaseException) -> str:
    """What to do where the hub was not reached; the clients' own errors share no base class."""
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    if "Offline" in names or "Connect" in names or "Timeout" in names:
        return ". The hub cannot be reached: download the dataset elsewhere and name its folder in `hub.name`"
    return ""
