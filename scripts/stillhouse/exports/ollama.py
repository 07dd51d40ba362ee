"""What Ollama makes of a Modelfile: its own reading of the file, and the text that it sends to the model.

Source: Ollama's parser and template packages (parser/parser.go and template/template.go of github.com/ollama/ollama).
"""

from dataclasses import dataclass

from stillhouse.errors import ExportError
from stillhouse.exports.chat_template import Chat
from stillhouse.exports.go_template import render_go

COMMANDS = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message", "requires",
)  # fmt: skip


@dataclass(frozen=True)
class Modelfile:
    """The parts of a Modelfile that decide how a model is run."""

    source: str
    template: str
    stops: tuple[str, ...]
    parameters: dict[str, str]


def parse_modelfile(text: str) -> Modelfile:
    """Read a Modelfile as Ollama does.

    Raises `ExportError` for a command that Ollama does not know, an open quotation, or no FROM. Characters that
    cannot be printed are dropped from values, as Ollama drops them.
    """
    values: dict[str, str] = {}
    parameters: dict[str, str] = {}
    stops: list[str] = []
    rest = text
    while rest := _next_command(rest):
        word, _, rest = _cut(rest)
        if word.lower() not in COMMANDS:
            raise ExportError(f"the Modelfile has the command {word!r}, which Ollama does not know")
        name = word.lower()
        if name == "parameter":
            name, _, rest = _cut(rest.lstrip(" \t"))
        value, rest = _value(rest)
        if word.lower() != "parameter":
            values[name] = value
        elif name == "stop":
            stops.append(value)
        else:
            parameters[name] = value
    if "from" not in values:
        raise ExportError("the Modelfile has no FROM")
    return Modelfile(values["from"], values.get("template", ""), tuple(stops), parameters)


def _next_command(text: str) -> str:
    """The text from the next command on, past blank lines and comments."""
    text = text.lstrip(" \t\r\n")
    while text.startswith("#"):
        text = text.partition("\n")[2].lstrip(" \t\r\n")
    return text


def _cut(text: str) -> tuple[str, str, str]:
    """A word, the sign after it, and the rest."""
    end = next((place for place, sign in enumerate(text) if sign in " \t\r\n"), len(text))
    return text[:end], text[end : end + 1], text[end + 1 :]


def _value(text: str) -> tuple[str, str]:
    """A value, quoted by one or three signs or reaching to the end of its line, and the text behind it."""
    end = 0
    while end <= len(text):
        if end == len(text) or text[end] in "\r\n":
            found = _unquoted("".join(one for one in text[:end] if one.isprintable() or one in " \t\r\n").strip())
            if found is not None:
                return found, text[end:]
        end += 1
    raise ExportError("the Modelfile has a quotation without its end")


def _unquoted(value: str) -> str | None:
    for sign in ('"""', '"'):
        if value.startswith(sign):
            return value[len(sign) : -len(sign)] if value.endswith(sign) and len(value) >= 2 * len(sign) else None
    return value


def render_by_ollama(template: str, chat: Chat) -> str:
    """The text that Ollama makes of a conversation; the model goes on from its end.

    Ollama joins messages of one role that follow each other by an empty line, before the template sees them.
    Raises `ExportError` for a template without `.Messages`, which Ollama would run over single turns.
    """
    if ".Messages" not in template:
        raise ExportError("the Modelfile's template does not range over .Messages")
    messages = [{"Role": turn["role"], "Content": turn["content"]} for turn in joined(chat)]
    system = "\n\n".join(turn["content"] for turn in chat if turn["role"] == "system")
    return render_go(template, {"System": system, "Messages": messages, "Response": ""})


def joined(chat: Chat) -> Chat:
    """A conversation as templates see it: turns of one role that follow each other are one, but for those of tools."""
    turns: Chat = []
    for turn in chat:
        if turns and turns[-1]["role"] == turn["role"] != "tool":
            turns[-1] = {**turns[-1], "content": f"{turns[-1]['content']}\n\n{turn['content']}"}
        else:
            turns.append(turn)
    return turns
