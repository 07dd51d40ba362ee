"""Ollama Modelfiles for models that chat in ChatML."""

from pathlib import Path

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stillhouse.errors import ExportError
from stillhouse.exports.gates import check_endings, check_modelfile, open_vocabulary, read_vocabulary
from stillhouse.exports.go_template import go_string
from stillhouse.exports.ollama import parse_modelfile
from stillhouse.llm.weights import PROBE_CHATS
from stillhouse.provenance.files import atomic_path

START, END = "<|im_start|>", "<|im_end|>"
MAX_SMOKE_TOKENS = 768

DEFAULT_SYSTEM_PROBE = [{"role": "user", "content": "probe"}]

TEMPLATE = """{{- range $index, $message := .Messages }}
{{- if and (eq $index 0) (ne .Role "system") }}@DEFAULT@{{ end }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""


def write_modelfile(gguf: Path, target: Path, context: int) -> dict[str, object]:
    """Write the Modelfile that runs `gguf` (a file beside `target`) in Ollama, once it has passed every gate.

    Raises `ExportError` for a chat template that is not ChatML, where the written template lays out a conversation
    differently from the GGUF's own, where an end token is no stop, and when no smoke answer ends by itself: a wrong
    template would make the model worse without anybody noticing.
    """
    with open_vocabulary(gguf) as llama:
        vocabulary = read_vocabulary(llama)
    stops = sorted({*vocabulary.ends.values(), END})
    lines = [
        f"FROM ./{gguf.name}",
        f'TEMPLATE """{ollama_template(vocabulary.template)}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        f"PARAMETER num_ctx {context}",
        "PARAMETER temperature 0",
    ]
    text = "\n".join(lines) + "\n"
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
        facts = check_modelfile(temporary)
        smoke = check_endings(gguf, parse_modelfile(text), min(MAX_SMOKE_TOKENS, context // 2))
    return {**facts, "smoke": smoke, "default_system": default_system(vocabulary.template)}


def render(template: str, messages: list[dict[str, str]]) -> str:
    """A Hugging Face chat template, with the opening of the assistant's turn."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    try:
        return environment.from_string(template).render(messages=messages, add_generation_prompt=True)
    except TemplateError as error:
        raise ExportError(f"the model's chat template cannot be rendered, so it is no plain ChatML: {error}") from error


def default_system(template: str) -> str:
    """What a template puts before a conversation that has no system turn; empty for most models."""
    user_turn = f"{START}user\nprobe{END}\n{START}assistant\n"
    rendered = render(template, DEFAULT_SYSTEM_PROBE)
    if not rendered.endswith(user_turn):
        raise ExportError("the model's chat template is not ChatML, so no Modelfile can be written for it")
    default = rendered.removesuffix(user_turn)
    for chat in PROBE_CHATS:
        turns = "".join(f"{START}{turn['role']}\n{turn['content']}{END}\n" for turn in chat)
        opening = "" if chat[0]["role"] == "system" else default
        if render(template, chat) != f"{opening}{turns}{START}assistant\n":
            raise ExportError("the model's chat template is not plain ChatML, so no Modelfile can be written for it")
    return default


def ollama_template(template: str) -> str:
    """The Go template that renders the same bytes as the ChatML `template`."""
    default = default_system(template)
    return TEMPLATE.replace("@DEFAULT@", f"{{{{ {go_string(default)} }}}}" if default else "")
