"""Models that the study trains as jobs open them: which code counts, where a server logs, and one request at a time."""

import asyncio
import json
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from stillhouse.llm import factory
from stillhouse.llm.factory import Clients
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.running import gather
from stillhouse.provenance.code import asks_trained, code_digest
from stillhouse.provenance.job import Params
from stillhouse.provenance.software import software_versions
from stillhouse.study.base import Sampling

SCRIPTS = Path(__file__).parents[2] / "scripts"
SERVING = "scripts/stillhouse/llm/serving.py"
STUDENT = {
    "name": "student",
    "backend": "trained",
    "adapter": "mixed",
    "serve": "peft",
    "weights": ["base/model.safetensors", "adapter/adapter_model.safetensors"],
    "digests": ["base/digests.json", "adapter/digests.json"],
}
API = {"name": "api", "backend": "openai", "model": "m"}
CONFIG = {"models": {"student": {"backend": "trained", "adapter": "mixed"}}}


def params(ledger: Path, **recipe: Any) -> Params:
    wildcards = {"generation": "talk", "shard": "0"}
    return Params(
        "answer_shard", wildcards, recipe, {**CONFIG, "ledger": str(ledger)}, "key", 1, {}, {"max_paid_calls": 0}
    )


class Engine:
    """Echoes its prompts, and keeps what it was opened with."""

    grammars = False
    concurrency = 1
    identity = {"backend": "transformers", "weights": ["a", "b"], "dtype": "float32"}

    def __init__(self) -> None:
        self.beside, self.most = 0, 0

    async def complete(self, request: Request) -> tuple[Completion, int]:
        self.beside += 1
        self.most = max(self.most, self.beside)
        await asyncio.sleep(0)
        self.beside -= 1
        return Completion(text=request.messages[-1][1], finish_reason="stop"), 1

    def close(self) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What `llm.serving` was asked to open; nothing is loaded."""
    asked: list[tuple] = []

    def open_served(*given: Any, **options: Any) -> Any:
        asked.append((*given, options))
        return types.SimpleNamespace(backend=Engine(), facts={"engine": "transformers"})

    module = types.SimpleNamespace(open_served=open_served)
    monkeypatch.setattr(factory.importlib, "import_module", lambda name: {"stillhouse.llm.serving": module}[name])
    return asked


@pytest.mark.parametrize("recipe", [{"models": [API, STUDENT]}, {"model": STUDENT}], ids=["models", "subject"])
def test_a_job_opens_what_its_recipe_names(recipe: dict[str, Any], opened: list[tuple], tmp_path: Path) -> None:
    clients = Clients.of_job(params(tmp_path / "ledger", **recipe))
    assert opened == []  # with the first request alone
    calls = gather(
        clients["student"].ask([{"role": "user", "content": str(n)}], Sampling(), seed_parts=(n,)) for n in range(4)
    )
    assert [call.text for call in calls] == list("0123")
    [(identity, weights, digests, log, threads, options)] = opened
    assert identity == STUDENT and threads == 1 and options == {}
    assert ([str(file) for file in weights], [str(file) for file in digests]) == (
        STUDENT["weights"],
        STUDENT["digests"],
    )
    assert log == Path("logs/answer_shard/talk/0.student.vllm.log")
    facts = clients.facts()
    assert facts["serving"] == {"student": {"engine": "transformers"}}
    assert facts["models"] == [{"name": "student", **Engine.identity, "served": []}]
    assert (facts["calls_made"], facts["usd"], facts["calls_without_price"]) == (4, 0.0, 4)
    assert clients["student"]._backend.most == 1
    clients.close()
    assert "student" in (next((tmp_path / "ledger").rglob("*.jsonl"))).read_text()


def test_every_script_opens_its_models_so() -> None:
    scripts = {file.name: file.read_text() for file in SCRIPTS.glob("*.py")}
    assert [name for name, text in scripts.items() if "Clients(" in text] == []
    assert sum("Clients.of_job(" in text for text in scripts.values()) == len(ASKING) + 1


ASKING = (
    "answer_shard",
    "check_drafts",
    "score_answers",
    "expand_prompts",
    "find_breaks",
    "judge_rubric",
    "judge_pairwise",
)


@pytest.mark.parametrize("script", ASKING)
def test_the_training_stack_counts_where_a_trained_model_is_asked_and_nowhere_else(script: str) -> None:
    own, serving = (code_digest(SCRIPTS / f"{script}.py", serving=serving) for serving in (False, True))
    assert not {SERVING, "scripts/stillhouse/llm/transformers_backend.py"} & set(own.files)
    assert {SERVING, "scripts/stillhouse/llm/transformers_backend.py"} <= set(serving.files)
    assert own.files.items() <= serving.files.items() and own.digest != serving.digest
    assert not {"torch", "peft", "transformers"} & set(software_versions(own.imports))
    assert {"torch", "peft", "transformers", "llama-cpp-python"} <= set(software_versions(serving.imports))


def test_which_recipes_ask_a_trained_model() -> None:
    assert asks_trained({"models": [API, STUDENT]})
    assert not asks_trained({"models": [API, {"name": "student", "backend": "transformers", "price": None}]})
    assert not asks_trained({"models": ["student"]}) and not asks_trained({})


def test_draws_of_two_engines_in_one_job_do_not_mix() -> None:
    """Between a seed and its last token another thread's engine waits; without that, two would share torch's numbers."""
    import torch

    from stillhouse.llm.transformers_backend import TransformersBackend

    class Drawing:
        """Draws a number at a time, as `generate` does, and lets others run between."""

        def generate(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
            drawn = []
            for _ in range(20):
                drawn.append(int(torch.randint(1000, (1,))))
                threading.Event().wait(0.001)
            return torch.cat([input_ids, torch.tensor([drawn])], dim=1)

    class Plain:
        def pad(self, rows: dict[str, Any], **_: Any) -> dict[str, torch.Tensor]:
            ids = torch.tensor(rows["input_ids"])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

        def decode(self, ids: list[int], **_: Any) -> str:
            return json.dumps(ids)

    def backend() -> TransformersBackend:
        made = TransformersBackend.__new__(TransformersBackend)
        made._threads, made._tokenizer, made._model, made._ends = 1, Plain(), Drawing(), []
        return made

    def request(seed: int) -> Request:
        sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 20, "stop": [], "seed": seed}
        return Request({}, (("user", "x"),), sampling)

    alone = [backend()._decode(request(seed), [[1]])[0].text for seed in (1, 2)]
    beside: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda s=seed: beside.update({s: backend()._decode(request(s), [[1]])[0].text}))
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [beside[1], beside[2]] == alone
