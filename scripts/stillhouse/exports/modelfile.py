"""Ollama Modelfiles, for chat templates that lay a turn out by its role."""

from pathlib import Path

from stillhouse.errors import ExportError
from stillhouse.exports.chat_template import Chat
from stillhouse.exports.endings import check_endings
from stillhouse.exports.gates import Vocabulary, open_vocabulary, read_vocabulary
from stillhouse.exports.go_template import go_string
from stillhouse.exports.modelfile_gates import check_modelfile
from stillhouse.exports.modelfile_warnings import with_warnings
from stillhouse.exports.ollama import parse_modelfile
from stillhouse.provenance.files import atomic_path

START, END = "<|im_start|>", "<|im_end|>"
MAX_SMOKE_TOKENS = 768
SYSTEM, ASKED, SAID, AGAIN = (f"probe{number}of4" for number in range(4))
"""What the turns of a probe say: words that no template has."""

CHATML = """{{- range $index, $message := .Messages }}
{{- if and (eq $index 0) (ne .Role "system") }}@DEFAULT@{{ end }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
"""Names the role itself, so that turns of any role come out as in the model's own template."""

BY_ROLE = """{{- range $index, $message := .Messages }}
{{- if and (eq $index 0) (ne .Role "system") }}@HEAD@{{ end }}
{{- if eq .Role "user" }}@USER@{{ .Content }}
{{- else if eq .Role "assistant" }}@ASSISTANT@{{ .Content }}@SAID@@SYSTEM@
{{- end }}
{{- end }}@ANSWER@"""
SYSTEM_BRANCH = """
{{- else if eq .Role "system" }}@BEFORE@{{ .Content }}@AFTER@"""


def write_modelfile(gguf: Path, target: Path, context: int, merged: Path | None = None) -> dict[str, object]:
    """Write the Modelfile that runs `gguf` (a file beside `target`) in Ollama, once it has passed every gate.

    `merged` is the folder of the same model in full precision, which is asked too where most answers of the GGUF are
    bad. Raises `ExportError` for a chat template that no Modelfile can hold, where the written template lays out a
    conversation differently from the GGUF's own, where an end token is no stop, and when the answers do not end: a
    wrong template would make the model worse without anybody noticing.
    """
    with open_vocabulary(gguf) as llama:
        vocabulary = read_vocabulary(llama)
    stops = sorted({*vocabulary.ends.values(), *([END] if END in vocabulary.template else [])})
    template = ollama_template(vocabulary)
    lines = [
        f"FROM ./{gguf.name}",
        f'TEMPLATE """{template}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        f"PARAMETER num_ctx {context}",
        "PARAMETER temperature 0",
    ]
    text = "\n".join(lines) + "\n"
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
        facts = check_modelfile(temporary)
        temporary.write_text(with_warnings(text, facts["warnings"]), encoding="utf-8", newline="")
        smoke = check_endings(gguf, parse_modelfile(text), min(MAX_SMOKE_TOKENS, context // 2), merged)
    return {**facts, "smoke": smoke}


def ollama_template(vocabulary: Vocabulary) -> str:
    """The Go template that lays turns out as the model's own chat template does.

    The text around the turns is read off conversations that the model's template has laid out. Raises `ExportError`
    for a template that has the date in it, or whose text around a turn depends on more than its role and place.
    """
    if not vocabulary.template:
        raise ExportError("the GGUF has no chat template, so no Modelfile can be written for it")
    question = [_turn("user", ASKED)]
    vocabulary.must_send(question)
    if vocabulary.sent(question, today="1 May") != vocabulary.sent(question, today="2 June"):
        raise ExportError("the model's chat template puts the date into conversations, which no Modelfile can hold")
    return _chatml(vocabulary) or _by_role(vocabulary)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _talk(*roles: str) -> Chat:
    """A conversation of turns with the probes' words."""
    words = {"system": [SYSTEM], "user": [ASKED, AGAIN], "assistant": [SAID]}
    return [_turn(role, words[role].pop(0)) for role in roles]


TALKS = (
    _talk("user"),
    _talk("user", "assistant", "user"),
    _talk("system", "user"),
    _talk("system", "user", "assistant", "user"),
)


def _chatml(vocabulary: Vocabulary) -> str | None:
    """The template of a ChatML model; None for any other."""
    ending = f"{START}user\n{ASKED}{END}\n{START}assistant\n"
    alone = vocabulary.must_send(TALKS[0])
    default = alone.removesuffix(ending)
    for chat in TALKS:
        turns = "".join(f"{START}{turn['role']}\n{turn['content']}{END}\n" for turn in chat)
        opening = "" if chat[0]["role"] == "system" else default
        if vocabulary.sent(chat) != f"{opening}{turns}{START}assistant\n":
            return None
    return CHATML.replace("@DEFAULT@", _printed(default))


def _by_role(vocabulary: Vocabulary) -> str:
    """A template out of the text that stands before and behind the turns of each role."""
    alone = _around(vocabulary.must_send(TALKS[0]), ASKED)
    opened, answering, asking, answer = _around(vocabulary.must_send(TALKS[1]), ASKED, SAID, AGAIN)
    if alone != [opened, answer]:
        raise _unfit("the text before the first or behind the last turn depends on the number of turns")
    led = vocabulary.sent(TALKS[2])
    before, after, _ = _around(led, SYSTEM, ASKED) if led is not None else ["", asking, ""]
    # what a user's turn begins with wherever it stands; the rest belongs to what comes before it
    user = _common_end(opened, asking, after)
    branch = SYSTEM_BRANCH.replace("@BEFORE@", _printed(before)).replace("@AFTER@", _printed(after.removesuffix(user)))
    parts = {
        "@SYSTEM@": branch if led is not None else "",
        "@HEAD@": _printed(opened.removesuffix(user)),
        "@USER@": _printed(user),
        "@ASSISTANT@": _printed(answering),
        "@SAID@": _printed(asking.removesuffix(user)),
        "@ANSWER@": _printed(answer),
    }
    template = BY_ROLE
    for mark, text in parts.items():
        template = template.replace(mark, text)
    return template


def _around(text: str, *contents: str) -> list[str]:
    """The text before, between and behind the contents of a conversation's turns."""
    found = []
    for content in contents:
        before, there, text = text.partition(content)
        if not there or content in text:
            raise _unfit("it does not print each turn once, in order")
        found.append(before)
    return [*found, text]


def _common_end(*texts: str) -> str:
    """The longest text that all of `texts` end with."""
    length = 0
    while length < min(map(len, texts)) and len({text[-length - 1] for text in texts}) == 1:
        length += 1
    return texts[0][len(texts[0]) - length :]


def _printed(text: str) -> str:
    """The action that prints `text`."""
    return f"{{{{ {go_string(text)} }}}}" if text else ""


def _unfit(why: str) -> ExportError:
    return ExportError(f"the model's chat template cannot be written as a Modelfile: {why}")
