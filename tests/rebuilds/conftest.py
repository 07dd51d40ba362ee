"""One built house for all rebuild tests; every test changes a copy of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from counting_server import CountingServer
from house import House, copy_workflow, write_study


def make_base(folder: Path) -> None:
    """A random Llama of two thin layers behind the embedded model's tokenizer, which the converters know."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from stillhouse.llm.weights import _mend_pre_tokenizer, embedded_gguf, save_model, save_tokenizer

    folder.mkdir(parents=True)
    source = embedded_gguf()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    _mend_pre_tokenizer(source, tokenizer)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **shape, **ends)
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # every state leans a little towards the end, so that answers end after a hundred tokens
        model.model.embed_tokens.weight[:, 0] = 0.1
        model.model.embed_tokens.weight[tokenizer.eos_token_id, 0] = 0.3
    save_model(model, folder)
    save_tokenizer(tokenizer, folder, 512)


@pytest.fixture(scope="session")
def server() -> Iterator[CountingServer]:
    found = CountingServer()
    yield found
    found.shutdown()


@pytest.fixture(scope="session")
def unbuilt(tmp_path_factory: pytest.TempPathFactory, server: CountingServer) -> House:
    """Study and workflow without results."""
    house = House(tmp_path_factory.mktemp("house"), server)
    house.study.mkdir()
    copy_workflow(house.workflow)
    make_base(house.study / "base")
    write_study(house.study, server.url)
    return house


@pytest.fixture(scope="session")
def built(unbuilt: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The whole study, built once from nothing."""
    house = unbuilt.copy(tmp_path_factory.mktemp("built"))
    house.run()
    return house


@pytest.fixture
def house(built: House, tmp_path: Path) -> House:
    """A copy of the built house, to be changed."""
    return built.copy(tmp_path / "house")
