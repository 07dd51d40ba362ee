"""The Modelfile's template renders the bytes of the model's own, and other templates are refused."""

import re

import pytest
from jinja2 import Environment

from stillhouse.errors import ExportError
from stillhouse.exports.modelfile import ollama_template, render
from stillhouse.llm.weights import PROBE_CHATS

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Go's actions of our template in Jinja; `{{-` eats the white space before it in both languages.
ACTIONS = {
    "{{- range $index, $message := .Messages }}": "{%- for m in messages %}",
    '{{- if and (eq $index 0) (ne .Role "system") }}': "{%- if loop.first and m.role != 'system' %}",
    "{{ .Role }}": "{{ m.role }}",
    "{{ .Content }}": "{{ m.content }}",
}


def rendered_by_ollama(template: str, messages: list[dict[str, str]]) -> str:
    ends = iter(["{% endif %}", "{% endfor %}"])
    for action, jinja in ACTIONS.items():
        assert action in template
        template = template.replace(action, jinja)
    template = re.sub(r"\{\{ end \}\}", lambda _: next(ends), template)
    return Environment(keep_trailing_newline=True).from_string(template).render(messages=messages)


@pytest.mark.parametrize("template", [CHATML, SMOLLM])
def test_both_templates_render_the_same_bytes(template: str) -> None:
    for chat in PROBE_CHATS:
        assert rendered_by_ollama(ollama_template(template), chat) == render(template, chat)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}",
        CHATML.replace("m['content']", "m['content'] | trim"),
        CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|>'"),
    ],
)
def test_templates_that_are_not_chatml_are_refused(template: str) -> None:
    with pytest.raises(ExportError, match="ChatML"):
        ollama_template(template)


def test_a_template_cannot_reach_into_python() -> None:
    with pytest.raises(ExportError, match="unsafe"):
        ollama_template("{{ messages.__class__.__mro__[1].__subclasses__() }}")
