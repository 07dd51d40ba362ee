"""Takes a model's reasoning apart from its answer, so that no think tag ever reaches an answer."""

import re
from dataclasses import dataclass

TAG = re.compile(
    r"<\s*(?P<close>/?)\s*(?:think|thinking|thought|thoughts|reasoning)(?:\s[^<>]*?)?(?P<alone>/?)\s*>", re.IGNORECASE
)
"""The spellings that models use, with or without attributes; `<think/>` holds nothing."""


@dataclass(frozen=True)
class Split:
    """An answer without think tags, the reasoning found in it, and what was odd about the tags."""

    answer: str
    reasoning: str | None
    flags: tuple[str, ...] = ()


def split_reasoning(text: str, *, truncated: bool = False) -> Split:
    """Split `text` into answer and reasoning.

    Handles closed blocks (nested ones too), a closing tag alone (all before it was reasoning: some chat
    templates open the block in the prompt) and an opening tag that is never closed (flagged `unclosed_think`): the
    text after it is kept as the answer, since some models answer inside it. In a `truncated` text it was cut off while
    still reasoning, so it is none.
    """
    split = _once(text, truncated)
    while TAG.search(split.answer):  # what stood around a block made a tag when it met
        again = _once(split.answer, truncated)
        thought = "\n".join(filter(None, [split.reasoning, again.reasoning])) or None
        split = Split(again.answer, thought, tuple(dict.fromkeys([*split.flags, *again.flags])))
    return split


def _once(text: str, truncated: bool) -> Split:
    answer: list[str] = []
    reasoning: list[str] = []
    flags: list[str] = []
    depth, position = 0, 0
    for tag in TAG.finditer(text):
        chunk, position = text[position : tag.start()], tag.end()
        if not tag["close"]:
            (reasoning if depth else answer).append(chunk)
            depth += not tag["alone"]
        elif depth:
            reasoning.append(chunk)
            depth -= 1
        else:
            reasoning.extend([*answer, chunk])
            answer = []
            flags.append("unopened_think")
    if depth:
        flags.append("unclosed_think")
    (reasoning if depth and truncated else answer).append(text[position:])
    thought = "".join(reasoning).strip()
    return Split("".join(answer).strip(), thought or None, tuple(dict.fromkeys(flags)))
