"""Rows that hold a prompt and an answer to it: what the answer is, which row is which sample, and the table of answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.llm.reasoning import split_reasoning
from stillhouse.prompts.flaws import Flaw
from stillhouse.prompts.messages import Message, conversation, is_seen, text_of
from stillhouse.prompts.rows import OWN_KEYS, SCHEMA, Row, RowMaker
from stillhouse.provenance.digests import canonical_json, digest_text
from stillhouse.provenance.files import atomic_path

ROWS = pa.schema([*SCHEMA, ("answer", pa.string()), ("reasoning", pa.string()), ("response_id", pa.string())])
"""A prompt with one answer; `response_id` is a digest of answer and reasoning."""

GROUP = 10_000

ANSWERS = pa.schema(
    [
        *(field for field in SCHEMA if field.name != "tools"),
        ("generation", pa.string()),
        ("method", pa.string()),
        ("model", pa.string()),
        ("answer", pa.string()),
        ("reasoning", pa.string()),
        ("draft", pa.string()),
        ("truncated", pa.bool_()),
        ("converged", pa.bool_()),
        ("rounds", pa.int32()),
        ("winners", pa.list_(pa.string())),
        ("transcript", pa.string()),
        ("calls", pa.list_(pa.string())),
        ("answer_call", pa.string()),
        ("sample", pa.int32()),
        ("tools", pa.string()),
        ("context", pa.string()),
    ]
)
"""As a generation writes its answers, so that datasets read both alike."""


class AnswerMaker(RowMaker):
    """Makes rows of prompts with their answers; the columns are those of `ROWS`."""

    keys = (*OWN_KEYS, "response", "reasoning")
    schema = ROWS
    order = ("prompt_id", "response_id")

    def row(self, entry: Any) -> Row:
        """The row of one record. Raises `Flaw`."""
        fields, rest = self.fields(entry)
        messages, answer, reasoning = _taken_apart(fields)
        row = self.made(entry, fields, rest, messages, {"answer": answer, "reasoning": reasoning})
        return {**row, "response_id": digest_text(canonical_json([answer, reasoning]))[:16]}


def _taken_apart(fields: Row) -> tuple[list[Message], str, str | None]:
    """The turns before the answer, the answer without think blocks, and the reasoning, given or in them. Raises `Flaw`."""
    messages = conversation(fields.get("prompt"), fields.get("messages"))
    response, reasoning = fields.get("response"), fields.get("reasoning")
    if messages[-1]["role"] == "assistant":
        *messages, last = messages
        response = _last_turn(last, response)
        reasoning = last.get("reasoning_content") if reasoning in (None, "") else reasoning
    if not isinstance(response, str) or not is_seen(response):
        found = "" if response is None or isinstance(response, str) else f", found {type(response).__name__}"
        raise Flaw("no_response", f'"response" is empty or missing; expected text{found}')
    if reasoning is not None and not isinstance(reasoning, str):
        raise Flaw("wrong_type", f"reasoning must be text, found {reasoning!r:.200}")
    split, given = split_reasoning(response), split_reasoning(reasoning or "")
    if not is_seen(split.answer):
        raise Flaw("no_response", "nothing is left of the response without its reasoning")
    thoughts = dict.fromkeys(filter(None, (given.reasoning, given.answer, split.reasoning)))
    return messages, split.answer, "\n".join(thoughts) or None


def _last_turn(turn: Message, response: Any) -> str:
    """The text of the turn that is the answer; `response` may say the same beside it."""
    if turn.get("tool_calls"):
        raise Flaw("no_response", "the last turn calls tools; expected an answer in words")
    said = text_of(turn)
    if response not in (None, "") and (not isinstance(response, str) or response.strip() != said.strip()):
        raise Flaw("bad_messages", "the conversation ends with an answer, and `response` is another one")
    return said


def write_answers(path: Path, rows: pa.Table, name: str) -> None:
    """Write collected rows as the answers of `name`: several to one prompt are its samples 0, 1, ... by `response_id`."""
    constants: Row = {
        "generation": name, "method": "recorded", "model": None, "truncated": False, "converged": None, "rounds": 0,
        "winners": [], "transcript": canonical_json({"rounds": []}), "calls": [], "answer_call": None, "context": None,
    }  # fmt: skip
    whole = rows.append_column("draft", rows["answer"]).append_column("sample", _samples(rows["prompt_id"]))
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, ANSWERS, compression="zstd") as writer:
        for start in range(0, len(rows), GROUP):
            part = whole.slice(start, GROUP)
            for key, value in constants.items():
                kind = ANSWERS.field(key).type
                part = part.append_column(key, pa.array([value] * len(part), kind))
            writer.write_table(part.select(ANSWERS.names).cast(ANSWERS))


def _samples(prompts: pa.ChunkedArray) -> pa.Array:
    """The number of each row among those of its prompt; rows of one prompt stand together."""
    codes = prompts.combine_chunks().dictionary_encode().indices.to_numpy()
    places = np.arange(len(codes))
    begins = np.r_[True, codes[1:] != codes[:-1]][: len(codes)]
    return pa.array(places - np.maximum.accumulate(np.where(begins, places, 0)), pa.int32())
