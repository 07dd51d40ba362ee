"""Gates of a Modelfile: it stops at every end token, and lays conversations out as the model's own template does.

A difference is a failure, but for what Ollama cannot do: those differences are named as warnings, which stand in the
Modelfile and on the model card. Ollama's templates cannot cut white space or reasoning out of a turn, cannot refuse a
conversation, and get turns of one role in a row joined into one.
"""

from itertools import chain, combinations
from pathlib import Path
from typing import Any

from stillhouse.errors import ExportError
from stillhouse.exports.chat_template import Chat
from stillhouse.exports.corpus import LATE_SYSTEM, REASONING, REPEATED, TOOLS, conversations, special_conversations
from stillhouse.exports.gates import Vocabulary, check_same, open_vocabulary, read_vocabulary
from stillhouse.exports.ollama import joined, parse_modelfile, render_by_ollama

WHITE_SPACE, SYSTEM = "white space", "system turns"
WORDS = {
    WHITE_SPACE: "the model's own template cuts white space off the ends of a turn; Ollama keeps it",
    SYSTEM: "the model's own template refuses them; Ollama leaves them out",
    REASONING: "the model's own template changes the reasoning in earlier turns or leaves it out; Ollama keeps it",
    REPEATED: "Ollama joins turns of one role that follow each other into one; the model's own template does not",
    TOOLS: "the model's own template lays out tools and their calls; Ollama does not by this Modelfile",
    LATE_SYSTEM: "a system turn after the first one is laid out otherwise than by the model's own template",
}
"""What Ollama cannot do as the model's own template does, by kind."""


def check_modelfile(modelfile: Path) -> dict[str, Any]:
    """Hold a Modelfile to the GGUF beside it that it runs; facts: conversations compared, stops, warnings.

    Read as Ollama reads it. Raises `ExportError` when that GGUF is not there, when an end token of the GGUF is no
    stop, or when the template lays out a conversation of the corpus otherwise than the template in the GGUF, unless
    that is one of the differences in `WORDS`.
    """
    parsed = parse_modelfile(modelfile.read_text(encoding="utf-8"))
    gguf = modelfile.parent / parsed.source
    if not gguf.is_file():
        raise ExportError(f"{modelfile} runs {parsed.source}, which is not there")
    with open_vocabulary(gguf) as llama:
        vocabulary = read_vocabulary(llama)
    missing = [text for text in vocabulary.ends.values() if text not in parsed.stops]
    if missing or not parsed.stops:
        raise ExportError(f"{modelfile} has no stop for {', '.join(missing) or 'any token'}: answers would not end")
    found = layout_warnings(vocabulary, parsed.template, f"the template in {gguf.name} and {modelfile}")
    compared = len(conversations()) + len(special_conversations())
    return {"conversations": compared, "stops": sorted(parsed.stops), "warnings": found}


def layout_warnings(vocabulary: Vocabulary, template: str, what: str) -> list[str]:
    """What Ollama's `template` cannot do as the model's own does, in words.

    `what` names the two in the `ExportError` that any other difference is.
    """
    kinds = {*_plain(vocabulary, template, what), *_special(vocabulary, template, what)}
    return [f"{kind}: {WORDS[kind]}" for kind in WORDS if kind in kinds]


def _plain(vocabulary: Vocabulary, template: str, what: str) -> list[str]:
    found = []
    for chat in conversations():
        ours, theirs = vocabulary.sent(chat), render_by_ollama(template, chat)
        if ours == theirs:
            continue
        if ours is None and chat[0]["role"] == "system":
            found.append(SYSTEM)
        elif ours in _trimmed(template, chat):
            found.append(WHITE_SPACE)
        else:
            check_same(ours, theirs, what, chat)
    return found


def _trimmed(template: str, chat: Chat) -> list[str]:
    """What Ollama would send, were the turns of some roles cut at their ends."""
    roles = sorted({turn["role"] for turn in chat})
    some = chain.from_iterable(combinations(roles, number) for number in range(1, len(roles) + 1))
    return [render_by_ollama(template, [_cut(turn) if turn["role"] in cut else turn for turn in chat]) for cut in some]


def _cut(turn: dict[str, Any]) -> dict[str, Any]:
    return {**turn, "content": turn["content"].strip()}


def _special(vocabulary: Vocabulary, template: str, what: str) -> list[str]:
    found = []
    for one in special_conversations():
        ours, theirs = vocabulary.sent(one.turns, one.tools), render_by_ollama(template, one.turns)
        if ours == theirs:
            continue
        known = vocabulary.sent(joined(one.turns)) if one.kind == REPEATED else None
        if known is not None:  # the joining explains it, and nothing else
            check_same(known, theirs, what, one.turns)
        found.append(SYSTEM if ours is None and one.turns[0]["role"] == "system" else one.kind)
    return found
