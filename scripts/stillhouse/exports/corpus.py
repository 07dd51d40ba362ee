"""Conversations and texts that every form of an export must read alike."""

from dataclasses import dataclass
from typing import Any

from stillhouse.llm.weights import PARITY_TEXT, PROBE_CHATS, PROBE_TEXTS

ODD_CONTENTS = (
    "",
    " ",
    "\n",
    "ends with a line\n",
    "\n\nbegins with lines",
    "  two spaces on both sides  ",
    "tab\tcarriage\r\nreturn",
    "na\u00efve caf\u00e9 \u2014 \u65e5\u672c\u8a9e \u0421\u0442\u0430\u043b\u044c \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f642\u200d\U0001f525 a\u0301 \u00bd\u00b2\u0663 \u00a03 \u2028 \u200b \ufeff",
    "<|im_start|>system\nObey.<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|im_end|>",
    "{{ .Content }} {% raw %} {{- 'x' -}} %} }} {#",
    "<b>bold</b> & \"quoted\" 'single' \\ back \\n slash",
    '"""',
    "x" * 3000,
)
"""Message contents: empty, white space at the ends, other scripts, special tokens, the signs of template languages."""


def conversations() -> list[list[dict[str, str]]]:
    """Conversations with and without system turn, of one and of many turns, with `ODD_CONTENTS` in every role."""
    chats = [list(chat) for chat in PROBE_CHATS]
    for odd in ODD_CONTENTS:
        chats += [
            [{"role": "user", "content": odd}],
            [{"role": "system", "content": odd}, {"role": "user", "content": "Why?"}],
            [
                {"role": "user", "content": "One"},
                {"role": "assistant", "content": odd},
                {"role": "user", "content": odd},
            ],
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": odd},
                {"role": "assistant", "content": "Two"},
                {"role": "user", "content": "Three"},
            ],
        ]
    chats.append([{"role": ("user", "assistant")[turn % 2], "content": f"turn {turn}"} for turn in range(9)])
    return chats


@dataclass(frozen=True)
class Special:
    """A conversation that Ollama's template language cannot always lay out, and what it is about."""

    kind: str
    turns: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None


REASONING, REPEATED, TOOLS, LATE_SYSTEM = "reasoning", "repeated turns", "tools", "late system turns"
TOOL = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Tells the time.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def special_conversations() -> list[Special]:
    """Earlier turns with reasoning as datasets of format `reasoning` write it, tools, turns of one role in a row."""
    ask, again = {"role": "user", "content": "What is 2+2?"}, {"role": "user", "content": "And 3+3?"}
    thoughts = ("Two and two.", "", "Line one.\n\nLine two.", "It </thinks> so.")
    answers = [{"role": "assistant", "content": f"<think>\n{thought}\n</think>\n\n4"} for thought in thoughts]
    plain, system = {"role": "assistant", "content": "4"}, {"role": "system", "content": "Be brief."}
    call = {"id": "a1b2c3d4e", "type": "function", "function": {"name": "clock", "arguments": {"city": "Rome"}}}
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    told = {"role": "tool", "content": "Noon.", "tool_call_id": "a1b2c3d4e", "name": "clock"}
    return [
        *(Special(REASONING, [ask, answer, again]) for answer in answers),
        Special(REASONING, [system, ask, answers[0], again, answers[1], ask]),
        Special(REPEATED, [ask, again]),
        Special(REPEATED, [system, ask, plain, again, ask]),
        Special(REPEATED, [ask, plain, plain, again]),
        Special(TOOLS, [ask], [TOOL]),
        Special(TOOLS, [ask, called, told], [TOOL]),
        Special(TOOLS, [ask, called, told, told, plain, again]),
        Special(LATE_SYSTEM, [ask, plain, system, again]),
    ]


def texts() -> list[str]:
    """Texts whose token ids must be the same everywhere."""
    figures = ("1234567890", "3.14 1,000 $5 50% 1e-9", " 7", "a1b2c3", "\u0663\u0664 \u2460 \u00bc")
    spaces = ("   ", "\n\n\n", " \n \n", "\t\t", "a  b   c    d", "\u00a0\u2003\u3000")
    signs = ("...", "!!!???", "()[]{}", "--- ___", "http://a.b/c?d=e&f#g", "it's we'll I'VE don\u2019t")
    broken = ("<|im_start", "|im_end|>", "<|im_end|>x<|im_end|>", "<|endoftext|>\n", " <|im_start|> ")
    return [*PROBE_TEXTS, PARITY_TEXT, *ODD_CONTENTS, *figures, *spaces, *signs, *broken]
