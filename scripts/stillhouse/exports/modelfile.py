"""Ollama Modelfiles for models that chat in ChatML."""

from pathlib import Path

import llama_cpp
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stillhouse.errors import ExportError
from stillhouse.llm.weights import PROBE_CHATS
from stillhouse.provenance.files import write_text

START, END = "<|im_start|>", "<|im_end|>"

DEFAULT_SYSTEM_PROBE = [{"role": "user", "content": "probe"}]

TEMPLATE = """{{- range $index, $message := .Messages }}
{{- if and (eq $index 0) (ne .Role "system") }}@DEFAULT@{{ end }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""


def write_modelfile(gguf: Path, target: Path, context: int) -> dict[str, object]:
    """Write the Modelfile that runs `gguf` (a file beside `target`) in Ollama.

    Raises `ExportError` for a chat template that is not ChatML: a wrong template would make the model worse
    without anybody noticing.
    """
    metadata, stops = _read(gguf)
    template = metadata.get("tokenizer.chat_template", "")
    lines = [
        f"FROM ./{gguf.name}",
        f'TEMPLATE """{ollama_template(template)}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        f"PARAMETER num_ctx {context}",
        "PARAMETER temperature 0",
    ]
    write_text(target, "\n".join(lines) + "\n")
    return {"stops": stops, "default_system": default_system(template)}


def _read(gguf: Path) -> tuple[dict[str, str], list[str]]:
    """Metadata of a GGUF and every token that ends a turn."""
    llama = llama_cpp.Llama(str(gguf), vocab_only=True, verbose=False)
    metadata = dict(llama.metadata)
    ends = {llama.token_eos(), llama_cpp.llama_vocab_eot(llama_cpp.llama_model_get_vocab(llama.model))} - {-1}
    stops = sorted({llama._model.token_get_text(token) for token in ends} | {END})
    llama.close()
    return metadata, stops


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
    return TEMPLATE.replace("@DEFAULT@", default_system(template).replace("{{", '{{ "{{" }}'))
