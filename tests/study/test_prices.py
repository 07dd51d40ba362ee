"""Prices: the study's own first, then the library's for a known provider, and unknown is not nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from stillhouse.study.models import LlamaCppModel, OpenAIModel, Price
from stillhouse.study.prices import price_of

SCRIPTS = Path(__file__).parents[2] / "scripts"


def model(name: str, url: str, **more: object) -> OpenAIModel:
    return OpenAIModel(backend="openai", base_url=url, model=name, **more)


def test_the_studys_price_comes_first() -> None:
    own = Price(input=1, output=2)
    assert price_of(model("gpt-4o", "https://api.openai.com/v1", price=own)) == own
    assert price_of(model("anything", "http://127.0.0.1:1/v1", price=own)) == own


@pytest.mark.parametrize(
    ("name", "url"),
    [("gpt-4o", "https://api.openai.com/v1"), ("deepseek-chat", "https://api.deepseek.com/v1")],
)
def test_a_known_model_of_a_known_provider_has_its_list_price(name: str, url: str) -> None:
    found = price_of(model(name, url))
    assert found is not None
    assert 0 < found.input < found.output < 1000  # USD per million tokens; the figures change with the library


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("gpt-4o", "https://llm.example.org/v1"),
        ("no-such-model-anywhere", "https://api.openai.com/v1"),
        ("gpt-4o", "http://localhost:8000/v1"),
        ("gpt-4o", "http://10.0.0.7:8000/v1"),
        ("gpt-4o", "no url"),
        ("qwen-3-coder-480b", "https://api.cerebras.ai/v1"),  # listed there without any figure
    ],
)
def test_a_model_that_nobody_knows_has_no_price(name: str, url: str) -> None:
    assert price_of(model(name, url)) is None


def test_what_runs_here_has_no_price() -> None:
    assert price_of(LlamaCppModel(backend="llama_cpp", weights="embedded")) is None


def test_servers_of_ones_own_do_not_load_the_library() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from stillhouse.study.models import OpenAIModel\nfrom stillhouse.study.prices import price_of\n"
        "price_of(OpenAIModel(backend='openai', base_url='http://127.0.0.1:8000/v1', model='gpt-4o'))\n"
        "sys.exit('genai_prices' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
