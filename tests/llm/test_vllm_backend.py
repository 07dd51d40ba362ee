"""vLLM's backend with a stand-in for the server: what is sent, what is refused, and a server that dies at work."""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stillhouse.errors import CallError, InputError, ServerError
from stillhouse.llm.requests import Request, make_request
from stillhouse.llm.running import gather
from stillhouse.llm.vllm_backend import Engine, VllmBackend, find_engine
from stillhouse.study.base import Sampling
from stillhouse.study.vllm import vllm_version

FAKE = Path(__file__).with_name("fake_server.py")
ENGINE = Engine(Path(sys.executable), "0.0.1", "cpu", "float32")
WORDS = ("[UNK]", "<|im_end|>", "<|endoftext|>", "user", "assistant", "hello", "die")
TEMPLATE = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' <|im_end|> ' }}{% endfor %}assistant"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder of 16 tokens' context, whose tokenizer has a token for every word, and the stand-in in place of vLLM."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(tmp_path / "base")
    (tmp_path / "base/config.json").write_text(json.dumps({"max_position_embeddings": 16, "num_hidden_layers": 2}))
    (tmp_path / "base/generation_config.json").write_text(json.dumps({"eos_token_id": [1, 3], "temperature": 0.3}))
    server = tmp_path / "packages/vllm/entrypoints/openai/api_server.py"
    server.parent.mkdir(parents=True)
    server.write_text(FAKE.read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("PROMPT_TOKENS", "4")
    return tmp_path / "base"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps({"r": 12, "rank_pattern": {"q_proj": 20}}))
    return tmp_path / "adapter"


@pytest.fixture
def backend(base: Path, adapter: Path) -> Iterator[VllmBackend]:
    made = VllmBackend(ENGINE, base, adapter, ["a" * 64, "b" * 64], base.parent / "vllm.log", context=2048)
    yield made
    made.close()


def ask(backend: VllmBackend, text: str = "hello", **sampling: object) -> Request:
    settings = Sampling(**{"temperature": 0.0, "max_tokens": 4, "seed": 3, **sampling})
    return make_request(backend.identity, [{"role": "user", "content": text}], settings, seed_parts=(text,))


def complete(backend: VllmBackend, *requests: Request) -> list:
    return [completion for completion, _ in gather(backend.complete(request) for request in requests)]


def test_what_is_sent_and_what_is_kept(backend: VllmBackend) -> None:
    request = ask(backend, temperature=0.5, top_k=7)
    first, second = complete(backend, request, ask(backend, stop=["end"]))
    body = json.loads(first.text)
    assert body == {
        "model": "adapter",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 7,
        "max_tokens": 4,
        "seed": request.sampling["seed"],
        "stop_token_ids": [1, 2, 3],  # end of turn, of text, and what the folder names
    }
    assert json.loads(second.text)["stop"] == ["end"]
    assert first.served_model is None, "the server's name for it says nothing"


def test_the_identity_is_what_decides_answers(backend: VllmBackend) -> None:
    before = dict(backend.identity)
    complete(backend, ask(backend))
    assert (
        backend.identity
        == before
        == {
            "backend": "vllm",
            "weights": ["a" * 64, "b" * 64],
            "version": "0.0.1",
            "device": "cpu",
            "dtype": "float32",
            "eager": True,
        }
    )


def test_no_server_runs_before_it_is_asked(backend: VllmBackend, base: Path) -> None:
    """16 tokens are what the model knows, whatever the study says; the prompt takes 4."""
    with pytest.raises(CallError, match="need 17 tokens, the model's context has 16"):
        complete(backend, ask(backend, max_tokens=13))
    assert not (base.parent / "vllm.log").exists()
    assert backend.render(ask(backend)) == "user hello <|im_end|> assistant"
    complete(backend, ask(backend, max_tokens=12))
    assert (base.parent / "vllm.log").exists()


def test_another_prompt_than_was_meant_is_refused(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_TOKENS", "5")
    backend = VllmBackend(ENGINE, backend._base, None, ["a"], backend._base.parent / "other.log", context=16)
    try:
        with pytest.raises(CallError, match="vLLM read 5 tokens, the base's template gives 4"):
            complete(backend, ask(backend))
    finally:
        backend.close()


def test_a_server_that_dies_at_work_is_told_at_once(backend: VllmBackend) -> None:
    complete(backend, ask(backend))
    with pytest.raises(
        ServerError, match=r"vLLM: the server ended with status 3; the end of .*:\n(.*\n)*.*out of luck"
    ):
        complete(backend, ask(backend, "die"), ask(backend, "user"))


def test_the_command_serves_the_adapter_by_the_bases_own_template(
    backend: VllmBackend, base: Path, adapter: Path
) -> None:
    words = backend._command(7)
    given = dict(pairwise(words))
    assert given["--chat-template"] == str(base / "chat_template.jinja")
    assert (given["--max-lora-rank"], given["--lora-modules"]) == ("32", f"adapter={adapter}")
    assert (given["--generation-config"], given["--dtype"], given["--max-model-len"]) == ("vllm", "float32", "16")
    assert {"--no-enable-prefix-caching", "--enforce-eager"} <= set(words)
    merged = VllmBackend(ENGINE, base, None, ["a"], base.parent / "other.log", context=8)
    assert "--enable-lora" not in merged._command(7) and "8" in merged._command(7)


def test_a_rank_that_vllm_does_not_know_is_refused(backend: VllmBackend, adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 600}))
    with pytest.raises(InputError, match="rank 600 is more than vLLM serves"):
        backend._command(7)


def test_an_environment_without_its_vllm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own Python has no vLLM; the one that a test makes has a later one."""
    monkeypatch.setenv("STILLHOUSE_VLLM_PYTHON", sys.executable)
    with pytest.raises(InputError, match=r"cannot run vLLM: vLLM is not installed there; run `make vllm`"):
        find_engine(vllm_version())
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\necho '{"version": "9.9+cpu", "device": "cpu", "dtype": "float32"}'\n""")
    python.chmod(0o755)
    monkeypatch.setenv("STILLHOUSE_VLLM_PYTHON", str(python))
    assert find_engine("9.9") == Engine(python, "9.9", "cpu", "float32")
    with pytest.raises(InputError, match=rf"has vLLM 9\.9, but .* pins {vllm_version()}.*make vllm"):
        find_engine(vllm_version())
    monkeypatch.setenv("STILLHOUSE_VLLM_PYTHON", "no/such/python")
    with pytest.raises(
        InputError, match=r"there is no no/such/python, which the variable STILLHOUSE_VLLM_PYTHON names"
    ):
        find_engine(vllm_version())
