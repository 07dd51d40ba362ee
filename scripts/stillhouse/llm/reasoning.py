"""Takes a model's reasoning apart from its answer, so that no think tag ever reaches an answer."""

import re
from dataclasses import dataclass

TAG = re.compile(r"<\s*(/?)\s*think(?:ing)?\s*>", re.IGNORECASE)


@dataclass(frozen=True)
class Split:
    """An answer without think tags, the reasoning found in it, and what was odd about the tags."""

    answer: str
    reasoning: str | None
    flags: tuple[str, ...] = ()


def split_reasoning(text: str) -> Split:
    """Split `text` into answer and reasoning.

    Handles closed blocks (nested ones too), a closing tag alone (all before it was reasoning: some chat
    templates open the block in the prompt) and an opening tag that is never closed: then the text after it
    is kept as the answer and flagged `unclosed_think`, since some models answer inside it.
    """
    answer: list[str] = []
    reasoning: list[str] = []
    flags: list[str] = []
    depth, position = 0, 0
    for tag in TAG.finditer(text):
        chunk, position = text[position : tag.start()], tag.end()
        if not tag.group(1):
            (reasoning if depth else answer).append(chunk)
            depth += 1
        elif depth:
            reasoning.append(chunk)
            depth -= 1
        else:
            reasoning.extend([*answer, chunk])
            answer = []
            flags.append("unopened_think")
    rest = text[position:]
    if depth:
        flags.append("unclosed_think")
    answer.append(rest)
    thought = "".join(reasoning).strip()
    return Split("".join(answer).strip(), thought or None, tuple(dict.fromkeys(flags)))
