"""Conversations as training rows hold them: plain lists of role and content, or JSON where messages hold more.

A message with tool calls beside plain ones would give every message of the dataset keys without a value, and chat
templates ask whether a key is there. So a dataset in which any message holds more than role and content keeps its
messages as JSON (Arrow's extension type, `Json()` in `datasets` 5): they load with just the keys that they had.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.datasets import kernels
from stillhouse.errors import InputError
from stillhouse.provenance.digests import canonical_json

Message = dict[str, Any]

PLAIN = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""Messages of role and content, as TRL and every reader of parquet take them."""

RICH = pa.list_(pa.json_())
"""Messages with any keys, each as JSON."""

_OPENS_CALL = re.compile(r"^[ \t\r\n]*\{")
_LINE = pa.schema([("m", PLAIN)])


def parse(text: str, prompt: str = "?") -> list[Message]:
    """The messages of one prompt out of their JSON text; raises `InputError`, which names the `prompt`, for other JSON."""
    try:
        messages = json.loads(text)
    except ValueError as error:
        raise InputError(f"prompt {prompt}: `messages` is no JSON: {error}") from None
    sound = isinstance(messages, list) and messages
    if not sound or not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in messages):
        raise InputError(f"prompt {prompt}: `messages` is no list of messages with a role")
    if "\\u" in text and not _is_text(canonical_json(messages)):
        raise InputError(f"prompt {prompt}: `messages` holds half of a surrogate pair, which is no text")
    return messages


def _is_text(told: str) -> bool:
    try:
        told.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_plain(message: Mapping[str, Any]) -> bool:
    """Whether a message is a role and a text, and nothing else."""
    return message.keys() == {"role", "content"} and isinstance(message["content"], str)


def parse_plain(texts: pa.StringArray) -> pa.ListArray | None:
    """Conversations of many prompts at once, of type `PLAIN`; None where any message holds more than role and content.

    By Arrow's JSON reader, where they are not all one turn of the user.
    """
    import pyarrow.json as pj

    if not len(texts):
        return pa.array([], PLAIN)
    if (asked := _single_turns(texts)) is not None:
        return _turns(asked, "user")
    lines = pc.binary_join_element_wise('{"m":', texts, "}\n", "")
    _, offsets, data = lines.buffers()  # one line behind the other: the very text that the reader wants
    ends = np.frombuffer(offsets, np.int32)
    data = data.slice(0, int(ends[len(lines)]))
    form = pj.ParseOptions(explicit_schema=_LINE, unexpected_field_behavior="error")
    read = pj.ReadOptions(use_threads=False, block_size=data.size + 1)
    try:
        found = pj.read_json(pa.BufferReader(data), read, form).column("m").combine_chunks()
    except pa.ArrowInvalid:
        return None
    flat = found.flatten()
    whole = len(found) == len(texts) and not found.null_count and pc.min(pc.list_value_length(found)).as_py()
    return found if whole and not any(flat.field(name).null_count for name in ("role", "content")) else None


def all_plain(texts: pa.StringArray) -> bool:
    """Whether every message of these prompts is a role and a text, and nothing else; raises `InputError` like `parse`."""
    if parse_plain(texts) is not None:
        return True
    return all(is_plain(message) for text in texts.to_pylist() for message in parse(text))


def answer_message(text: str) -> list[Message]:
    """An answer as the turn that follows a prompt."""
    return [{"role": "assistant", "content": text}]


def tool_call(text: str) -> Message | None:
    """The turn that an answer is which calls tools; None for any other text.

    Backends tell such answers as JSON, `{"content"?, "tool_calls"}`. Arguments become an object where they are the JSON
    text of one: chat templates write them as JSON themselves.
    """
    if '"tool_calls"' not in text or not _OPENS_CALL.match(text):
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    calls = told.get("tool_calls")
    if told.keys() - {"content", "tool_calls"} or not isinstance(calls, list) or not calls:
        return None
    if not isinstance(told.get("content", ""), str | None) or not all(map(_is_call, calls)):
        return None
    turn = {"role": "assistant", "content": told.get("content"), "tool_calls": [_with_object(call) for call in calls]}
    return turn if _is_json(turn) else None


def any_call(texts: pa.StringArray) -> bool:
    """Whether any of these answers calls tools."""
    opens = texts.filter(pc.match_substring_regex(texts, _OPENS_CALL.pattern))
    return any(tool_call(text) is not None for text in opens.to_pylist())


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function.get("arguments"))
    except (ValueError, TypeError, RecursionError):
        return call
    sound = isinstance(arguments, dict) and _is_json(arguments)
    return {**call, "function": {**function, "arguments": arguments}} if sound else call


def _is_json(value: Any) -> bool:
    """Whether a value can be written again: Python also reads NaN and halves of surrogate pairs."""
    try:
        return _is_text(canonical_json(value))
    except (ValueError, RecursionError):
        return False


def answer_arrays(texts: pa.StringArray) -> pa.ListArray:
    """Many answers as turns, of type `PLAIN`."""
    return _turns(texts, "assistant")


def _turns(texts: pa.StringArray, role: str) -> pa.ListArray:
    """One message a text."""
    messages = pa.StructArray.from_arrays([pa.repeat(pa.scalar(role), len(texts)), texts], ["role", "content"])
    return pa.ListArray.from_arrays(pa.array(np.arange(len(texts) + 1, dtype=np.int32)), messages)


def _single_turns(texts: pa.StringArray) -> pa.StringArray | None:
    """What the user says where every conversation is one turn of the user, told as `canonical_json` does; else None."""
    if not kernels.worth(len(texts)):
        return None
    from stillhouse.datasets.compiled_turns import single_turns

    data, offsets = kernels.utf8(texts)
    out, ends = np.empty(len(data), np.uint8), np.zeros(len(texts) + 1, np.int32)
    if not single_turns(data, offsets, out, ends[1:]):
        return None
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]]))


def rich_array(conversations: list[list[Message] | None]) -> pa.ListArray:
    """Conversations of any messages, of type `RICH`."""
    told = [None if one is None else [canonical_json(message) for message in one] for one in conversations]
    return pa.array(told, pa.list_(pa.string())).cast(RICH)


def decoded(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a table of a dataset, messages as lists of dicts in either form."""
    rich = [field.name for field in table.schema if field.type == RICH]
    rows = table.to_pylist()
    for row in rows:
        row.update({name: [json.loads(one) for one in row[name]] for name in rich if row[name] is not None})
    return rows


def read_examples(path: str | Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a dataset's parquet file, a row group in memory at a time; columns that it does not have are left out.

    Raises `InputError` when the file is missing or no parquet file.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            there = [name for name in columns or file.schema_arrow.names if name in file.schema_arrow.names]
            for number in range(file.num_row_groups):
                yield from decoded(file.read_row_group(number, there))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such parquet file") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a parquet file: {error}") from None
