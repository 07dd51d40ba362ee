"""Answers with the teacher's reasoning before them: what a model learns to think before it speaks."""

from collections import Counter

from stillhouse.datasets.examples import TOOLS, Answer, Format, FormatContext, Made, asked
from stillhouse.datasets.filters.texts import holds_think_tag
from stillhouse.datasets.messages import answer_message, tool_call


def teacher_wrote(row: Answer) -> bool:
    """Whether the final answer is the teacher's own draft, so that the row's reasoning is the teacher's.

    The column `reasoning` holds that of the call which wrote the final answer. Where the panel ever preferred another
    candidate, that call was the author's or the synthesizer's, and it reasons about a critique which no prompt shows.
    Equal texts prove nothing: an author may have written the draft again.
    """
    return all(winner == "A" for winner in row["winners"] or ())


def reasoning_example(row: Answer, _: FormatContext) -> Made:
    """Prompt and completion, the teacher's reasoning in <think> before the answer; none where there is no such reasoning.

    Dropped: `empty_answer`, `tool_call` (it is no text that could follow), `no_reasoning`, `not_the_teachers`, `think_tag`.
    """
    reasoning = (row["reasoning"] or "").strip()
    fault = _fault(row, reasoning)
    if fault:
        return Made([], Counter({fault: 1}), 1)
    content = f"<think>\n{reasoning}\n</think>\n\n{row['answer'].strip()}"
    return Made([{**asked(row), "completion": answer_message(content)}], Counter(), 1)


def _fault(row: Answer, reasoning: str) -> str | None:
    if not row["answer"].strip():
        return "empty_answer"
    if tool_call(row["answer"]):
        return "tool_call"
    if not reasoning:
        return "no_reasoning"
    if not teacher_wrote(row):
        return "not_the_teachers"
    return "think_tag" if holds_think_tag(reasoning) or holds_think_tag(row["answer"]) else None


REASONING = Format(
    name="reasoning",
    turns=("prompt", "completion"),
    facts=(TOOLS,),
    columns=("messages", "answer", "tools", "reasoning", "winners"),
    without="no_reasoning",
    unit="answers",
    examples=reasoning_example,
)
