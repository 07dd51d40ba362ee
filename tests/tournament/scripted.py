"""A scripted model behind the real client and ledger, and a generation that it answers."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillhouse.llm.client import Client, Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.read import read_prompts
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Roles, Tournament
from stillhouse.tournament.generate import answer_shard
from stillhouse.tournament.roles import load_templates
from stillhouse.tournament.settings import ShardSettings
from stillhouse.tournament.writing import Texts

TEMPLATES = Path(__file__).parents[2] / "data/tournament"
ANSWER = "The incumbent answer."
REVISION = "The revision B."
SYNTHESIS = "The synthesis AB."
TEXTS = {"teacher": ANSWER, "author": REVISION, "synthesizer": SYNTHESIS, "critic": "1. It is vague."}


def role_of(request: Request) -> str:
    """Who is asked, by the opening of the shipped templates."""
    text = request.messages[-1][1]
    openings = {
        "You review": "critic",
        "Write a better": "author",
        "Two answers": "synthesizer",
    }
    if "RANKING:" in text:
        return "judge"
    return next((role for opening, role in openings.items() if text.startswith(opening)), "teacher")


def shown(request: Request) -> dict[str, str]:
    """Label -> text in a judge's request."""
    parts = request.messages[-1][1].split("\n\nX")[1:]
    return {"X" + part[0]: part[3:].split("\n\nReply with")[0].strip() for part in parts}


def voting(*preference: str) -> Callable[[Request], str]:
    """A judge that ranks by the start of the texts."""

    def vote(request: Request) -> str:
        labels = shown(request)
        ranked = sorted(
            labels, key=lambda label: next(i for i, p in enumerate(preference) if labels[label].startswith(p))
        )
        return "RANKING: " + " > ".join(ranked)

    return vote


FOR_A = voting(ANSWER, SYNTHESIS, REVISION)
FOR_B = voting(REVISION, SYNTHESIS, ANSWER)
FOR_AB = voting(SYNTHESIS, REVISION, ANSWER)


class Script:
    """A backend that answers by role; a role's entry is a text, a `Completion`, an error, or makes one of a request."""

    grammars = False
    concurrency = 8

    def __init__(self, latency: random.Random | None = None, **roles: Any) -> None:
        self.identity = {"backend": "scripted"}
        self.roles = {**TEXTS, "judge": FOR_A, **roles}
        self.asked: list[tuple[str, Request]] = []
        self._latency = latency

    async def complete(self, request: Request) -> tuple[Completion, int]:
        role = role_of(request)
        self.asked.append((role, request))
        if self._latency:
            await asyncio.sleep(self._latency.random() / 200)
        answer = self.roles[role]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return (answer if isinstance(answer, Completion) else Completion(answer, "stop")), 1

    def close(self) -> None:
        pass


def settings(**changes: Any) -> ShardSettings:
    values = {
        "generation": "g", "method": "tournament", "model": "m", "roles": Roles(),
        "tournament": Tournament(judges=3, max_rounds=4, convergence=2), "sampling": Sampling(max_tokens=50),
        "routes": [], "shard": 0, "shards": 1,
    }  # fmt: skip
    return ShardSettings(**{**values, **changes})


def answer(folder: Path, script: Script, prompts: int = 1, usage: Usage | None = None, **changes: Any) -> list[dict]:
    run = {name: changes.pop(name) for name in ("bearable", "retrying", "limit") if name in changes}
    asked = changes.pop("asked", [{"id": f"p{i}", "prompt": f"Question {i}?"} for i in range(prompts)])
    source = folder / "prompts.jsonl"
    source.write_text("".join(json.dumps(one) + "\n" for one in asked))
    ledger = Ledger(folder / "ledger", "test")
    client = Client("m", script, ledger, usage)
    own = {name: changes.pop(name) for name in ("system", "partner_system", "library") if name in changes}
    texts = Texts(templates=load_templates(sorted(TEMPLATES.glob("*.j2"))), **own)
    models = {"m": client, "n": client, "o": client}
    answer_shard(read_prompts(source, "s"), models, settings(**changes), texts, folder / "0.parquet", **run)
    ledger.close()
    return read_parquet_rows(folder / "0.parquet")


def rounds_of(row: dict) -> list[dict]:
    return json.loads(row["transcript"])["rounds"]
