"""Modelfiles for the families of chat templates, each held to the Hugging Face template on the whole corpus."""

import pytest
from export_house import TEMPLATE

from stillhouse.errors import ExportError
from stillhouse.exports.chat_template import Chat
from stillhouse.exports.gates import Vocabulary
from stillhouse.exports.modelfile import ollama_template
from stillhouse.exports.modelfile_gates import WORDS, layout_warnings
from stillhouse.exports.ollama import parse_modelfile, render_by_ollama

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
    "+ m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim "
    "+ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set start = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set start = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (start if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
QWEN3 = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% set c = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + c + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OPENED = TEMPLATE.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>\n'")
MARKED = TEMPLATE.replace("{{ '<|im_start|>' + m", "{% generation %}{{ '<|im_start|>' + m").replace(
    "{% endfor", "{% endgeneration %}{% endfor"
)
FAMILIES: dict[str, tuple[str, list[str]]] = {
    "chatml": (TEMPLATE, ["repeated turns"]),
    "chatml that trims": (TEMPLATE.replace("m['content']", "m['content'] | trim"), ["white space", "repeated turns"]),
    "chatml with an opening token": ("{{ bos_token }}" + TEMPLATE, ["repeated turns"]),
    "chatml without line ends": (TEMPLATE.replace("'<|im_end|>' + '\n'", "'<|im_end|>'"), ["repeated turns", "tools"]),
    "chatml that marks the answer": (MARKED, ["repeated turns"]),
    "chatml that opens reasoning": (OPENED, ["repeated turns", "tools"]),
    "qwen3": (QWEN3, ["reasoning", "repeated turns", "tools"]),
    "llama3": (LLAMA3, ["white space", "repeated turns", "tools"]),
    "gemma": (GEMMA, ["white space", "system turns", "repeated turns", "tools", "late system turns"]),
    "mistral": (MISTRAL, ["system turns", "repeated turns", "tools", "late system turns"]),
    "llama2": (LLAMA2, ["repeated turns", "tools", "late system turns"]),
}

WITH_OPENING = {"chatml with an opening token": ["tools", "late system turns"], "llama3": ["late system turns"]}
"""What comes to these where the template has to write the opening token itself."""


def held(template: str, adds_bos: bool = False) -> Vocabulary:
    metadata = {"tokenizer.chat_template": template}
    return Vocabulary(metadata, ["<s>", "</s>"], {1: "</s>"}, 1, 0, adds_bos)


def written(vocabulary: Vocabulary) -> str:
    """The template as Ollama reads it out of a Modelfile."""
    return parse_modelfile(f'FROM x\nTEMPLATE """{ollama_template(vocabulary)}"""\n').template


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_laid_out_alike_but_for_what_is_named(family: str, adds_bos: bool) -> None:
    template, kinds = FAMILIES[family]
    kinds = kinds + ([] if adds_bos else WITH_OPENING.get(family, []))
    vocabulary = held(template, adds_bos)
    found = layout_warnings(vocabulary, written(vocabulary), "both")
    assert [words.partition(":")[0] for words in found] == [kind for kind in WORDS if kind in kinds]


CHAT: Chat = [
    {"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three"}
]  # fmt: skip
SHOWN = {
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        "One<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nTwo<|eot_id|><|start_header_id|>user"
        "<|end_header_id|>\n\nThree<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "llama2": (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nOne [/INST] Two </s><s>[INST] Three [/INST]"
    ),
    "gemma": (
        "<s><start_of_turn>user\nOne<end_of_turn>\n<start_of_turn>model\nTwo<end_of_turn>\n<start_of_turn>user\n"
        "Three<end_of_turn>\n<start_of_turn>model\n"
    ),
    "mistral": "<s>[INST] One [/INST]Two</s>[INST] Three [/INST]",
}  # fmt: skip


@pytest.mark.parametrize("family", SHOWN)
def test_the_layouts_are_those_of_the_families(family: str) -> None:
    system = [{"role": "system", "content": "Be brief."}] if "brief" in SHOWN[family] else []
    vocabulary = held(FAMILIES[family][0])
    assert render_by_ollama(written(vocabulary), system + CHAT) == vocabulary.render(system + CHAT) == SHOWN[family]
    assert written(held(FAMILIES[family][0], adds_bos=True)).count('"<s>') == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_changed_text_is_a_difference(family: str) -> None:
    """Every literal of the written template is changed by a sign: each change is found."""
    vocabulary = held(FAMILIES[family][0])
    good = written(vocabulary)
    places = [
        place for place, sign in enumerate(good) if sign == "|" or good[place : place + 2] in ("[I", "[/", "<<", "<s")
    ]
    assert places
    for place in places:
        with pytest.raises(ExportError, match="lay out a conversation"):
            layout_warnings(vocabulary, good[:place] + "!" + good[place + 1 :], "both")


COUNTING = TEMPLATE.replace("m['role'] +", "m['role'] + loop.index | string +")
SYSTEM_LAST = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + (messages[0].content if loop.last and "
    "messages[0].role == 'system' else '') + m.content + '[/INST]' }}{% elif m.role == 'assistant' %}{{ m.content }}"
    "{% endif %}{% endfor %}"
)
REFUSED = {
    "date": ("{{ strftime_now('%Y') }}" + TEMPLATE, "puts the date into conversations"),
    "none": ("", "has no chat template"),
    "broken": ("{% for %}", "cannot be rendered"),
    "silent": ("hello", "cannot be written as a Modelfile: it does not print each turn once"),
    "only the last turn": ("{{ messages[-1].content }}", "cannot be written as a Modelfile: it does not print each turn"),
    "doubled turns": ("{% for m in messages %}{{ m.content + m.content }}{% endfor %}", "each turn once"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_templates_that_no_modelfile_can_hold_are_refused(name: str) -> None:
    template, words = REFUSED[name]
    with pytest.raises(ExportError, match=words):
        ollama_template(held(template))


@pytest.mark.parametrize("template", [COUNTING, SYSTEM_LAST], ids=["counting", "system-last"])
def test_text_that_depends_on_more_than_the_role_is_refused_by_one_gate_or_the_other(template: str) -> None:
    vocabulary = held(template)
    with pytest.raises(ExportError, match=r"lay out a conversation|cannot be written as a Modelfile"):
        layout_warnings(vocabulary, written(vocabulary), "both")
