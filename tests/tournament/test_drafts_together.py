"""Greedy drafts of a model that decodes in batches: over all prompts of the generation, whatever shards there are."""

from pathlib import Path
from typing import Any

import pytest
from scripted import TEXTS, Script, role_of, settings

from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.shards import rows_of_shard
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Route
from stillhouse.tournament.generate import answer_shard
from stillhouse.tournament.roles import load_templates
from stillhouse.tournament.writing import Texts

TEMPLATES = Path(__file__).parents[2] / "data/tournament"
SINGLE = {"method": "single", "tournament": None}


class Batched(Script):
    """Every draft of a batch tells how many were decoded beside it, and which came first."""

    concurrency, batch = 1, 4

    def __init__(self, **roles: Any) -> None:
        super().__init__(**roles)
        self.lists: list[list[Request]] = []

    def complete_batch(self, requests: list[Request]) -> list[Completion]:
        self.lists.append(requests)
        first = requests[0].messages[-1][1]
        return [Completion(f"{len(requests)} beside {first}", "stop") for _ in requests]


def prompts(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": f"{n:016x}",
            "prompt": f"Question {n}?",
            "messages": f'[{{"role": "user", "content": "Question {n}?"}}]',
            "category": "ab"[n % 2],
            "tools": None,
        }
        for n in range(count)
    ]


def answered(folder: Path, shards: int, **changes: Any) -> tuple[dict[tuple[str, int], str], list[Batched]]:
    """Answers by prompt and sample, each shard by a client and a ledger of its own."""
    rows, found, scripts = prompts(10), {}, []
    for shard in range(shards):
        script, target = Batched(judge="RANKING: X1 > X2 > X3"), folder / f"{shards}-{shard}.parquet"
        client = Client("m", script, Ledger(folder / f"{shards}-{shard}", "test"))
        texts = Texts(templates=load_templates(sorted(TEMPLATES.glob("*.j2"))))
        mine = rows_of_shard(rows, shard, shards)
        told = settings(shard=shard, shards=shards, **{**SINGLE, **changes})
        answer_shard(mine, {"m": client, "n": client}, told, texts, target, company=rows)
        found |= {(row["prompt_id"], row["sample"]): row["answer"] for row in read_parquet_rows(target)}
        scripts.append(script)
    return found, scripts


@pytest.mark.parametrize(
    "changes",
    [{}, {"samples": 2}, {"routes": [Route(category=["b"], models=["n"])]}, {"method": "dialogue"}],
    ids=["single", "samples", "routes", "dialogue"],
)
def test_the_number_of_shards_changes_no_answer(changes: dict[str, Any], tmp_path: Path) -> None:
    one, [script] = answered(tmp_path, 1, **changes)
    assert len(one) == 10 * changes.get("samples", 1)
    for shards in (2, 3):
        assert answered(tmp_path, shards, **changes)[0] == one
    if not changes:
        assert [len(batch) for batch in script.lists] == [4, 4, 2]
        assert set(one.values()) == {f"{n} beside Question {first}?" for n, first in ((4, 0), (4, 4), (2, 8))}
        assert script.asked == []


def test_a_shard_decodes_only_batches_that_hold_its_prompts(tmp_path: Path) -> None:
    _, scripts = answered(tmp_path, 8)
    assert max(len(script.lists) for script in scripts) <= 3 and min(len(script.lists) for script in scripts) < 3


def test_sampled_drafts_and_all_that_follows_a_draft_go_alone(tmp_path: Path) -> None:
    _, [script] = answered(tmp_path, 1, sampling=Sampling(max_tokens=50, temperature=0.7))
    assert script.lists == [] and len(script.asked) == 10
    _, [script] = answered(tmp_path, 1, method="tournament", tournament=settings().tournament)
    assert len(script.lists) == 3
    assert {role_of(request) for batch in script.lists for request in batch} == {"teacher"}
    assert {role for role, _ in script.asked} == {*TEXTS, "judge"} - {"teacher"}
