"""Draft, critique, revision: what a model learns to find wrong with an answer, and to make better of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stillhouse.datasets.examples import (
    TOOLS,
    Answer,
    Example,
    Format,
    FormatContext,
    Made,
    asked,
    is_unread,
    rounds_of,
)
from stillhouse.datasets.filters.texts import holds_think_tag
from stillhouse.datasets.messages import Message, answer_message, tool_call

NO_FLAWS = "NO FLAWS"

ASK_CRITIQUE = (
    "Criticise your answer. Name its concrete flaws, at most three, each in one short line. "
    f"If there is nothing worth changing, reply with exactly: {NO_FLAWS}"
)
ASK_REVISION = "Write a better answer to the question. Repair every flaw that this critique names.\n\nCritique:\n"
TASKS = {"critique": ("critique",), "revise": ("revise",), "both": ("critique", "revise")}


@dataclass(frozen=True)
class Triple:
    """One round: the incumbent, what was said against it, and the candidate that won.

    `revision` is None where the critic found no flaw, so that nothing was revised; `lost` where the incumbent won
    against the revisions; `unread` where too few votes could be read to tell.
    """

    round: int
    draft: str
    critique: str
    revision: str | None
    lost: bool
    unread: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """What there is of draft, critique and revision, for comparing."""
        return tuple(text.strip() for text in (self.draft, self.critique, self.revision) if text is not None)


def critic_examples(row: Answer, context: FormatContext) -> Made:
    """A row for each round and task that `critic.task` names.

    `critique`: the conversation, the incumbent and a request for its flaws; the completion is the critique.
    `revise`: the same with the critique and a request to mend them; the completion is what the panel preferred.
    A critique is taught where its revision won, or where it found nothing to change, and a triple once. Dropped:
    `unread` (the panel did not decide), `revision_lost`, `empty_side`, `same_text`, `think_tag`, `tool_call`,
    `duplicate_triple`, and of `revise` alone `revision_filtered` (a filter of the source drops the revision).
    """
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    start = asked(row)
    seen: set[tuple[str, ...]] = set()
    for triple in _triples(rounds_of(row)):
        whole = _fault(triple) or ("duplicate_triple" if triple.texts in seen else None)
        if not whole:
            seen.add(triple.texts)
        for task in TASKS[context.settings.critic.task]:
            if task == "revise" and triple.revision is None:
                continue
            fault = whole
            if not fault and task == "revise" and not context.checks.may_be_chosen(triple.revision or "", row):
                fault = "revision_filtered"
            if fault:
                dropped[fault] += 1
            else:
                examples.append(_example(start, triple, task))
    return Made(examples, dropped, len(examples) + dropped.total())


def _triples(rounds: list[dict[str, Any]]) -> Iterator[Triple]:
    for one in rounds:
        texts, winner = one["candidates"], one["winner"]
        if one["no_flaws"]:
            yield Triple(one["round"], texts["A"], NO_FLAWS, None, lost=False, unread=False)
        else:
            lost, unread = winner == "A", is_unread(one)
            yield Triple(one["round"], texts["A"], one["critique"], texts[winner], lost, unread)


def _fault(triple: Triple) -> str | None:
    if triple.unread:
        return "unread"
    if triple.lost:
        return "revision_lost"
    texts = triple.texts
    if not all(texts):
        return "empty_side"
    if triple.revision is not None and triple.revision.strip() == triple.draft.strip():
        return "same_text"
    if any(map(holds_think_tag, texts)):
        return "think_tag"
    return "tool_call" if any(map(tool_call, texts)) else None


def _example(start: Example, triple: Triple, task: str) -> Example:
    wanted = ASK_CRITIQUE if task == "critique" else f"{ASK_REVISION}{triple.critique}"
    request: Message = {"role": "user", "content": wanted}
    return {
        **start,
        "prompt": [*start["prompt"], *answer_message(triple.draft), request],
        "completion": answer_message(triple.critique if task == "critique" else triple.revision or ""),
        "task": task,
        "round": triple.round,
    }


CRITIC = Format(
    name="critic",
    turns=("prompt", "completion"),
    facts=(TOOLS, pa.field("task", pa.string()), pa.field("round", pa.int32())),
    columns=("messages", "tools", "transcript"),
    without="no_critique",
    unit="turns",
    examples=critic_examples,
)
