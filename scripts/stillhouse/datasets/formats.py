"""The training formats: what a row of answers becomes, exactly as TRL's trainers take it."""

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa

from stillhouse.datasets.critic import CRITIC
from stillhouse.datasets.examples import TOOLS, Answer, Format, FormatContext, Made, asked
from stillhouse.datasets.messages import answer_arrays, answer_message, any_call, tool_call
from stillhouse.datasets.pairs import PREFERENCE
from stillhouse.datasets.reasoning import REASONING

if TYPE_CHECKING:
    import numpy as np

    from stillhouse.datasets.batches import Batch


def sft_example(row: Answer, _: FormatContext) -> Made:
    """The conversation as prompt and the answer as completion (prompt-completion, conversational).

    An answer that calls tools becomes the turn that calls them.
    """
    if not row["answer"].strip():
        return Made([], Counter(empty_answer=1), 1)
    call = tool_call(row["answer"])
    completion = [call] if call else answer_message(row["answer"])
    return Made([{**asked(row), "completion": completion}], Counter(), 1)


def sft_calls(batch: "Batch") -> bool:
    """Whether any answer of a batch calls tools."""
    return any_call(batch.strings("answer"))


def sft_table(batch: "Batch", places: "np.ndarray") -> dict[str, pa.Array] | None:
    """Like `sft_example` for the rows at `places`, whose answers must not be empty.

    None where a conversation of the batch holds more than roles and texts, or one of the rows offers or calls tools.
    """
    chosen = pa.array(places, pa.int64())
    tools, chats = batch.column("tools").take(chosen), batch.plain_chats
    if chats is None or len(tools) > tools.null_count:
        return None
    prompts = chats.take(chosen)
    answers = batch.strings("answer").take(chosen)
    if any_call(answers):
        return None
    return {"prompt": prompts, "completion": answer_arrays(answers), "tools": pa.nulls(len(prompts), pa.string())}


SFT = Format(
    name="sft",
    turns=("prompt", "completion"),
    facts=(TOOLS,),
    columns=("messages", "answer", "tools"),
    without="empty_answer",
    unit="answers",
    examples=sft_example,
    table=sft_table,
    rich_turns=("prompt", "completion"),
    calls=sft_calls,
)

FORMATS: dict[str, Format] = {one.name: one for one in (SFT, REASONING, PREFERENCE, CRITIC)}
"""The formats by the name that a study gives them."""
