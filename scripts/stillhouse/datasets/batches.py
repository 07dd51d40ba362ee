"""Answers in record batches: what a scan over millions of rows holds at once."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse.datasets import kernels
from stillhouse.datasets.kernels import Counts, Tokens
from stillhouse.datasets.messages import PLAIN, all_plain, parse, parse_plain
from stillhouse.datasets.scores import QUALITY, Scores
from stillhouse.errors import InputError
from stillhouse.provenance.digests import canonical_json

BATCH_ROWS = 16_384
BATCH_BYTES = 48 << 20
"""Bytes of text that a batch aims at: with rows of megabytes it holds fewer of them."""
FEWEST_ROWS = 64
LOOKED_AT = 256
"""Row groups whose sizes are looked at, spread over the file."""

_TURN = np.uint64(0x9E3779B97F4A7C15)
TEXT = pa.string()
COLUMN_TYPES: dict[str, pa.DataType] = {
    "truncated": pa.bool_(),
    "converged": pa.bool_(),
    "rounds": pa.int32(),
    "sample": pa.int32(),
    "calls": pa.list_(TEXT),
    "winners": pa.list_(TEXT),
    QUALITY: pa.float64(),
}
"""Types of the columns that are no text."""

NEWER = ("sample", "tools", "context")
"""Columns that older files lack; there they are null."""


class Batch:
    """Neighbouring rows of one source: `start` is the number of the first of them in its file, `path`."""

    def __init__(
        self, source: int, generation: str, start: int, table: pa.RecordBatch, path: Path | None = None
    ) -> None:
        self.source = source
        self.generation = generation
        self.start = start
        self.table = table
        self.path = path
        self._strings: dict[str, pa.StringArray] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._counts: dict[str, Counts] = {}
        self._tokens: dict[str, Tokens] = {}

    def __len__(self) -> int:
        return self.table.num_rows

    def take(self, rows: np.ndarray) -> "Batch":
        """Some of the rows as a batch of their own, which are told by their places in it."""
        return Batch(self.source, self.generation, self.start, self.table.take(pa.array(rows, pa.int64())), self.path)

    def column(self, name: str) -> pa.Array:
        """A column as it is read, nulls included."""
        return self.table.column(name)

    def strings(self, name: str) -> pa.StringArray:
        """A column of text; null is the empty text."""
        if name not in self._strings:
            column = self.table.column(name)
            self._strings[name] = column.fill_null("") if column.null_count else column
        return self._strings[name]

    def row(self, number: int) -> dict[str, Any]:
        """One row as plain Python; a null answer is the empty one, which the filters know."""
        if number not in self._rows:
            row = {name: self.table.column(name)[number].as_py() for name in self.table.schema.names}
            if row.get("answer", "") is None:
                row["answer"] = ""
            self._rows[number] = row
        return self._rows[number]

    @cached_property
    def plain_chats(self) -> pa.ListArray | None:
        """The messages of every row as lists of role and content; None where any message holds more than that."""
        return parse_plain(self.strings("messages"))

    @cached_property
    def chats(self) -> pa.ListArray:
        """The messages of every row as lists of role and text, whatever else they hold.

        Raises `InputError` with the row's number where `messages` is no list of messages.
        """
        if self.plain_chats is not None:
            return self.plain_chats
        texts = self.strings("messages").to_pylist()
        return pa.array([self._messages(number, text) for number, text in enumerate(texts)], PLAIN)

    @cached_property
    def rich(self) -> bool:
        """Whether any message holds more than a role and a text."""
        return self.plain_chats is None and not all_plain(self.strings("messages"))

    def _messages(self, number: int, text: str) -> list[dict[str, str]]:
        try:
            parsed = parse(text, self.table.column("prompt_id")[number].as_py())
        except InputError as error:
            raise InputError(f"row {self.start + number}: {error}") from None
        return [{"role": one["role"], "content": content_of(one.get("content"))} for one in parsed]

    def prompt_texts(self) -> pa.StringArray:
        """The conversation of every row without system messages, its parts joined by newlines."""
        return self._prompt_texts

    @cached_property
    def _prompt_texts(self) -> pa.StringArray:
        chats = self.chats
        roles, contents = chats.flatten().field("role"), chats.flatten().field("content")
        offsets = chats.offsets.to_numpy() - chats.offsets[0].as_py()
        spoken = pc.not_equal(roles, "system")
        if not pc.all(spoken, min_count=0).as_py():
            kept = np.concatenate([[0], np.cumsum(spoken.to_numpy(zero_copy_only=False))])
            offsets, contents = kept[offsets], contents.filter(spoken)
        if len(contents) == len(self) and np.array_equal(offsets, np.arange(len(self) + 1)):
            return contents
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), contents), "\n")

    def counts(self, name: str) -> Counts:
        """Words and contractions of every text of a column, counted once."""
        if name not in self._counts:
            self._counts[name] = kernels.counts(self.strings(name))
        return self._counts[name]

    def tokens(self, name: str) -> Tokens:
        """The comparable words of every text of a column, hashed once; `counts` then has them counted, too."""
        if name not in self._tokens:
            self._tokens[name], self._counts[name] = kernels.tokens_and_counts(self.strings(name))
        return self._tokens[name]

    @property
    def prompt_words(self) -> np.ndarray:
        """int32: words of every prompt's text."""
        return self._prompt_measures[1].words

    @property
    def prompt_tokens(self) -> Tokens:
        """The comparable words of every prompt's text."""
        return self._prompt_measures[0]

    @cached_property
    def _prompt_measures(self) -> tuple[Tokens, Counts]:
        return kernels.tokens_and_counts(self.prompt_texts())

    @cached_property
    def settings(self) -> np.ndarray:
        """uint64: a digest of every row's system turns, by their normal form, and tools; 0 where there are none."""
        chats, found = self.chats, np.zeros(len(self), np.uint64)
        told = pc.equal(chats.flatten().field("role"), "system").to_numpy(zero_copy_only=False)
        if told.any():
            texts = chats.flatten().field("content").filter(pa.array(told))
            of = np.repeat(np.arange(len(self)), np.diff(chats.offsets.to_numpy()))[told]
            # turns are told in their order: by what stands before each of them in its row
            place = np.arange(len(of)) - np.searchsorted(of, of)
            digests = kernels.normal_digests(kernels.tokens(texts))[:, 0] ^ (place.astype(np.uint64) * _TURN)
            np.add.at(found, of, digests * _TURN)
        tools = self.strings("tools").dictionary_encode()
        if len(tools) and tools.dictionary.to_pylist() != [""]:
            own = [_tools_digest(one) for one in tools.dictionary.to_pylist()]
            found += np.array(own, np.uint64)[tools.indices.to_numpy()]
        return found

    def turns(self) -> list[tuple[str, ...]] | None:
        """Of every row the conversation and each of the user's turns, without repeats; None where all are one turn."""
        if len(self.chats.flatten()) == len(self):
            return None
        chats = (tuple((one["role"], one["content"]) for one in chat) for chat in self.chats.to_pylist())
        return [turns_of(chat) for chat in chats]


def turns_of(messages: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """A conversation without system messages, and each of the user's turns, without repeats."""
    text = "\n".join(content for role, content in messages if role != "system")
    return tuple(dict.fromkeys([text, *(content for role, content in messages if role == "user")]))


def _tools_digest(tools: str) -> int:
    """64 bits for a list of tools; 0 for none."""
    if tools in ("", "[]", "null"):
        return 0
    return int.from_bytes(hashlib.blake2b(tools.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def content_of(content: Any) -> str:
    """A message's text: of a list of parts those that are text, joined by newlines; calls of tools may have none.

    A part of another kind (a picture) stands there as eight signs of its digest, in Braille: no words, so that only
    text is counted, but other signs for another picture, so that two of them under one question are told apart.
    """
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(map(_part_of, content if isinstance(content, list) else [content]))


def _part_of(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    if isinstance(text, str):
        return text
    digest = hashlib.sha256(canonical_json(part).encode("utf-8", "surrogatepass")).digest()
    return "".join(chr(0x2800 + byte) for byte in digest[:8])


def open_answers(
    path: Path, columns: tuple[str, ...], newer: tuple[str, ...] = NEWER, scores: Scores | None = None
) -> "AnswerFile":
    """The file `path`, ready to be read; raises `InputError` when it is missing, no parquet, or lacks columns.

    `scores` are those of its answers, for the column `QUALITY`; without them it is null.
    """
    return AnswerFile(Path(path), columns, newer, scores)


class AnswerFile:
    """A parquet file and the columns that are read of it."""

    def __init__(self, path: Path, columns: tuple[str, ...], newer: tuple[str, ...], scores: Scores | None) -> None:
        self.path = path
        self._scores = scores if QUALITY in columns else None
        try:
            # pre_buffer would hold the whole compressed file in memory
            with pq.ParquetFile(path, pre_buffer=False) as file:
                schema, self._meta = file.schema_arrow, file.metadata
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such parquet file") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: not a parquet file: {error}") from None
        missing = [name for name in columns if name not in schema.names and name not in (*newer, QUALITY)]
        if missing:
            raise InputError(f"{path}: not a parquet file with the columns {', '.join(columns)}: no {missing[0]}")
        self.columns = columns
        self.rows = self._meta.num_rows
        needed = dict.fromkeys([*columns, *(("prompt_id", "sample") if self._scores else ())])
        self._own = [name for name in needed if name in schema.names and name != QUALITY]
        _check_types(path, {name: schema.field(name).type for name in self._own})
        self._rows_at_once = _rows_at_once(self._meta, frozenset(self._own))

    def batches(
        self, source: int, generation: str, rows: int = BATCH_ROWS, wanted: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """The rows in file order, with `wanted` (a mask over them) only of row groups that hold such a row.

        Raises `InputError` where a value cannot be used.
        """
        rows = min(rows, self._rows_at_once)
        rows = -(-self.rows // max(-(-self.rows // rows), 1)) or 1  # even ones, so that no small rest goes the slow way
        for start, groups in _runs(self._meta, wanted):
            yield from self._read(source, generation, start, groups, rows)

    def groups(self, source: int, generation: str, wanted: np.ndarray) -> "Iterator[RowGroup]":
        """The row groups that hold a wanted row, each to be read by whoever takes it; its reading raises as `batches`."""
        for start, groups in _runs(self._meta, wanted, together=1):
            yield partial(self._read, source, generation, start, groups, min(BATCH_ROWS, self._rows_at_once))

    def _read(self, source: int, generation: str, start: int, groups: list[int], rows: int) -> Iterator[Batch]:
        """The rows of neighbouring row groups, the first of which begins with row `start`."""
        try:
            with pq.ParquetFile(self.path, metadata=self._meta, pre_buffer=False) as file:
                for table in file.iter_batches(rows, row_groups=groups, columns=self._own, use_threads=True):
                    yield Batch(source, generation, start, self._conformed(table, start), self.path)
                    start += table.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.path}: cannot be read from row {start} on: {error}") from None

    def _conformed(self, table: pa.RecordBatch, start: int) -> pa.RecordBatch:
        """The batch with the columns wanted, in their types, holding nothing that later steps trip over."""
        arrays = [self._array(table, name, start) for name in self.columns]
        return pa.RecordBatch.from_arrays(arrays, list(self.columns))

    def _array(self, table: pa.RecordBatch, name: str, start: int) -> pa.Array:
        wanted = COLUMN_TYPES.get(name, TEXT)
        if name == QUALITY and self._scores is not None:
            return self._scores.of(self._array(table, "prompt_id", start), self._array(table, "sample", start))
        if name not in self._own:
            return pa.nulls(table.num_rows, wanted)
        array = table.column(name)
        if name in _NEVER_NULL and array.null_count:
            row = pc.index(array.is_null(), True).as_py()
            raise InputError(f"{self.path}: row {start + row}: column {name} is null; every row needs one")
        try:
            array = array.cast(wanted) if array.type != wanted else array
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            row = next((row for row in range(len(array)) if not _sound(array.slice(row, 1), wanted)), 0)
            raise InputError(f"{self.path}: row {start + row}: column {name} cannot be read: {error}") from None
        return array


RowGroup = Callable[[], Iterator[Batch]]
"""A row group that nobody has read yet: gives its rows."""

_NEVER_NULL = ("prompt_id", "messages")


def _sound(array: pa.Array, wanted: pa.DataType) -> bool:
    try:
        array.cast(wanted).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _check_types(path: Path, types: Mapping[str, pa.DataType]) -> None:
    for name, found in types.items():
        wanted = COLUMN_TYPES.get(name, TEXT)
        if not _alike(found, wanted):
            raise InputError(f"{path}: column {name} holds {found}, expected {wanted}")


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_null(found) or found == wanted:
        return True
    if pa.types.is_dictionary(found):
        return _alike(found.value_type, wanted)
    if wanted == TEXT:
        return pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if pa.types.is_list(wanted):
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and _alike(found.value_type, TEXT)
    return pa.types.is_integer(wanted) and pa.types.is_integer(found)


def _runs(
    meta: pq.FileMetaData, wanted: np.ndarray | None, together: int | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Neighbouring row groups that are read together, at most so many, and the row with which they begin."""
    sizes = [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    run: list[int] = []
    for number, size in enumerate(sizes):
        if size and (wanted is None or wanted[starts[number] : starts[number] + size].any()):
            run.append(number)
        if run and (run[-1] != number or len(run) == together):
            yield int(starts[run[0]]), run
            run = []
    if run:
        yield int(starts[run[0]]), run


def _rows_at_once(meta: pq.FileMetaData, columns: frozenset[str]) -> int:
    """Rows of which the texts come to about `BATCH_BYTES`, by the sizes in the file's footer."""
    heaviest = 1.0
    for number in range(0, meta.num_row_groups, meta.num_row_groups // LOOKED_AT + 1):
        group = meta.row_group(number)
        if group.num_rows:
            parts = (group.column(place) for place in range(group.num_columns))
            own = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in columns)
            heaviest = max(heaviest, own / group.num_rows)
    return max(FEWEST_ROWS, min(BATCH_ROWS, int(BATCH_BYTES / heaviest)))


def read_batches(
    path: Path, columns: tuple[str, ...], rows: int = BATCH_ROWS, *, source: int = 0, generation: str = ""
) -> Iterator[Batch]:
    """The rows of an answers.parquet in batches of at most `rows`; raises `InputError` as `open_answers` does."""
    yield from open_answers(path, columns).batches(source, generation or Path(path).parent.name, rows)
