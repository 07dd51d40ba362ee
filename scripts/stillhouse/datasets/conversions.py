"""A dataset's splits in the forms of other training tools: ShareGPT, Alpaca and MLX-LM chat, as JSON lines.

ShareGPT and Alpaca as LLaMA-Factory's data/README.md describes them, MLX-LM chat as its LORA.md does. Line n of a
file is row n of its parquet file. Every line of a dataset has the same keys: readers that infer columns need that.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.datasets.messages import Message, read_examples
from stillhouse.errors import InputError
from stillhouse.provenance.files import atomic_path
from stillhouse.study.datasets import OutputForm

Row = Mapping[str, Any]
Line = dict[str, Any]
Turn = dict[str, str]

COLUMNS = ["prompt", "completion", "chosen", "rejected", "tools"]
FROM = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
"""ShareGPT's names of the roles."""
IN_TURN = (("human", "observation"), ("gpt", "function_call"))
"""Who asks and who answers."""
BETWEEN_RESULTS = "\n</tool_response>\n<tool_response>\n"
"""What LLaMA-Factory's converter of OpenAI messages puts between results of several calls."""


class Unfit(ValueError):
    """A row holds what a form has no place for; the text says what."""


@dataclass(frozen=True)
class Wants:
    """Which keys the rows of a dataset need besides those that every line has."""

    system: bool = False
    history: bool = False
    tools: bool = False

    def __or__(self, other: "Wants") -> "Wants":
        return Wants(self.system or other.system, self.history or other.history, self.tools or other.tools)


def convert_dataset(splits: Mapping[str, Path], form: OutputForm, targets: Mapping[str, Path]) -> dict[str, Any]:
    """Write each of `splits` (split -> parquet) to `targets` (split -> JSONL) in `form`; empty splits give empty files.

    Facts: lines of each split. Raises `InputError` naming file and row where a row does not fit the form: Alpaca has no
    place for tools, MLX-LM none for pairs, ShareGPT none for a text beside tool calls, and Alpaca and ShareGPT none for
    turns that do not alternate.
    """
    wants = Wants()
    for path in splits.values():
        for row in read_examples(path, COLUMNS):
            wants |= _wants(row)
    return {"lines": {name: _convert(path, form, targets[name], wants) for name, path in splits.items()}}


def _convert(source: Path, form: OutputForm, target: Path, wants: Wants) -> int:
    count = 0
    with atomic_path(target) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        for count, row in enumerate(read_examples(source, COLUMNS), start=1):
            try:
                line = FORMS[form](row, wants)
            except Unfit as error:
                raise InputError(f"{source}: row {count} does not fit {form}: {error}") from None
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    return count


def _wants(row: Row) -> Wants:
    roles = [message["role"] for message in row["prompt"]]
    return Wants("system" in roles or "developer" in roles, "assistant" in roles, row.get("tools") is not None)


def sharegpt(row: Row, wants: Wants) -> Line:
    """`conversations` of `from` and `value`; pairs with `chosen` and `rejected` turns beside them; `tools` as JSON text.

    Results of tools that follow each other become one turn, as LLaMA-Factory joins them: it skips rows whose turns
    do not alternate.
    """
    sides = {side: _turn(row[side][-1]) for side in ("chosen", "rejected") if side in row}
    turns = _joined([_turn(message) for message in (*row["prompt"], *row.get("completion", ()))])
    _check_order(turns, pair=bool(sides))
    line: Line = {"conversations": turns, **sides}
    return {**line, "tools": row["tools"] or ""} if wants.tools else line


def _joined(turns: list[Turn]) -> list[Turn]:
    """The turns with each row of observations as one."""
    found: list[Turn] = []
    for turn in turns:
        if found and turn["from"] == found[-1]["from"] == "observation":
            turn = {**turn, "value": f"{found.pop()['value']}{BETWEEN_RESULTS}{turn['value']}"}
        found.append(turn)
    return found


def _check_order(turns: list[Turn], pair: bool) -> None:
    """Raises `Unfit` unless asking and answering turns alternate behind the system prompt; of a pair asking ones end them."""
    names = [turn["from"] for turn in turns]
    rest = names[1:] if names[:1] == ["system"] else names
    if len(rest) % 2 != pair or any(name not in IN_TURN[place % 2] for place, name in enumerate(rest)):
        raise Unfit(f"its turns are {', '.join(names)}, and asking and answering ones must alternate")


def _turn(message: Message) -> Turn:
    """A message as ShareGPT's turn; calls of tools are JSON."""
    calls, role = message.get("tool_calls"), message["role"]
    if role not in FROM:
        raise Unfit(f"no turn for the role {role!r}")
    if calls:
        if _text(message, optional=True):
            raise Unfit("a message with a text and tool calls")
        told = [_call(call) for call in calls]
        return {"from": "function_call", "value": json.dumps(told[0] if len(told) == 1 else told, ensure_ascii=False)}
    return {"from": FROM[role], "value": _text(message)}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Name and arguments of one call, the arguments as an object where they are JSON text."""
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        with suppress(ValueError):
            arguments = json.loads(arguments)
    return {"name": function.get("name", ""), "arguments": arguments}


def alpaca(row: Row, wants: Wants) -> Line:
    """`instruction`, `input` (empty) and `output`, or `chosen` and `rejected`; `system` and `history` where rows have any."""
    if row.get("tools") is not None:
        raise Unfit("it offers tools")
    system, rest = _system_apart(row["prompt"])
    if len(rest) % 2 == 0 or any(one["role"] != ("user", "assistant")[n % 2] for n, one in enumerate(rest)):
        raise Unfit(f"its turns are {', '.join(one['role'] for one in row['prompt'])}, not user and assistant in turn")
    texts = [_text(message) for message in rest]
    sides = {"output": "completion"} if "completion" in row else {"chosen": "chosen", "rejected": "rejected"}
    line: Line = {"instruction": texts[-1], "input": ""}
    line |= {key: _text(row[side][-1]) for key, side in sides.items()}
    if wants.system:
        line["system"] = system
    if wants.history:
        line["history"] = [texts[start : start + 2] for start in range(0, len(texts) - 1, 2)]
    return line


def _system_apart(messages: list[Message]) -> tuple[str, list[Message]]:
    """The system prompt that a conversation begins with, empty where there is none, and what follows."""
    first = messages[0] if messages else {}
    if first.get("role") in ("system", "developer"):
        return _text(first), messages[1:]
    return "", messages


def mlx(row: Row, wants: Wants) -> Line:
    """`messages` as they are, the answer last; `tools` as a list, null where a row has none."""
    if "completion" not in row:
        raise Unfit("a pair has two answers, and MLX-LM's chat form has room for one")
    line: Line = {"messages": [*row["prompt"], *row["completion"]]}
    return {**line, "tools": json.loads(row["tools"] or "null")} if wants.tools else line


def _text(message: Message, optional: bool = False) -> str:
    """A message's text; parts of kind `text` are joined. Other parts, or none where one is needed, do not fit."""
    content = message.get("content")
    if content is None and optional:
        return ""
    if message.get("tool_calls") and not optional:
        raise Unfit("it calls tools")
    if isinstance(content, list) and all(isinstance(one, dict) and one.get("type") == "text" for one in content):
        return "".join(one["text"] for one in content)
    if not isinstance(content, str):
        raise Unfit(f"a message of the role {message['role']!r} without a text")
    return content


FORMS: dict[OutputForm, Callable[[Row, Wants], Line]] = {"sharegpt": sharegpt, "alpaca": alpaca, "mlx": mlx}
"""Writers of one line, by the name of the form."""
