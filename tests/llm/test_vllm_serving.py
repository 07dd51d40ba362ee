"""vLLM for real: an adapter and merged weights of the embedded model answer through the rule, as peft does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from stillhouse.llm import transformers_backend
from stillhouse.llm.requests import Request, make_request
from stillhouse.llm.running import gather
from stillhouse.llm.transformers_backend import TransformersBackend
from stillhouse.llm.vllm_backend import VllmBackend, find_engine
from stillhouse.study.base import Sampling
from stillhouse.study.vllm import environment_fault, vllm_version

WORKFLOW = Path(__file__).parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), "--cores", "1"]
ASKED = ("the bakery opens at four", "the harbour is dredged by hand", "the school moves in winter", "a tram runs free")
RESPONSES = "results/evaluations/held/responses"

STUDY = {
    "study": "served",
    "models": {
        "teacher": {"backend": "recorded", "file": "answers.jsonl", "licence": "apache-2.0"},
        "smollm2": {"backend": "llama_cpp", "weights": "embedded", "context": 512},
    },
    "prompts": {"plans": {"file": "plans.jsonl", "licence": "apache-2.0"}},
    "generations": {"plans": {"prompts": "plans", "model": "teacher"}},
    "datasets": {"plain": {"sources": [{"generation": "plans"}]}},
    "adapters": {
        "told": {
            "base": "smollm2",
            "dataset": "plain",
            "lora": {"rank": 12},
            "training": {"max_steps": 6, "batch_size": 4, "learning_rate": 2.0e-3, "max_length": 256},
        }
    },
    "exports": {"told": {"adapter": "told", "quants": []}},
    "evaluations": {
        "held": {
            "prompts": {"held": "held.jsonl"},
            "subjects": {
                "peft": {"adapter": "told"},
                "vllm": {"adapter": "told", "serve": "vllm"},
                "whole": {"export": "told", "serve": "vllm", "grammar": "form.gbnf"},
            },
            "sampling": {"temperature": 0.0, "max_tokens": 24},
            "markers": "markers.yaml",
        }
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(environment_fault() is not None, reason=str(environment_fault()))]


@pytest.fixture(autouse=True)
def closed_backends() -> None:
    """In place of the folder's fixture, which closes connections after each test: `exact` lasts for several."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with an adapter and merged weights, and what peft answers."""
    folder = tmp_path_factory.mktemp("served")
    plans = [{"id": f"p{n}", "prompt": f"Review plan {n}: a shop opens on day {n}."} for n in range(24)]
    answers = [{"prompt": p["prompt"], "response": "Hold. The keystone is the one guard."} for p in plans]
    held = [{"id": f"h{n}", "prompt": f"Review this plan: {text}."} for n, text in enumerate(ASKED)]
    for name, rows in (("plans", plans), ("answers", answers), ("held", held)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "markers.yaml").write_text("markers: [keystone]\n")
    (folder / "form.gbnf").write_text('root ::= "Go." | "Hold."\n')
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    build(folder, f"{RESPONSES}/peft.parquet", "results/exports/told/merged/digests.json")
    return folder


def command(*targets: str) -> list[str]:
    return [*SNAKEMAKE, *targets, "--configfile", "study.yaml"]


def build(folder: Path, *targets: str) -> None:
    done = subprocess.run(command(*targets), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


def answers_of(folder: Path, subject: str) -> dict[str, str]:
    rows = pq.read_table(folder / RESPONSES / f"{subject}.parquet").to_pylist()
    return {row["id"]: row["answer"] for row in rows}


def living(folder: Path) -> dict[int, str]:
    """Processes that work in `folder`: number and command; vLLM's engine renames itself, but stays in the folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == folder.resolve():
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def wait_for(folder: Path, name: str, seconds: float) -> int:
    """The number of the process in `folder` whose command holds `name`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for number, words in living(folder).items():
            if name in words:
                return number
        time.sleep(0.2)
    raise AssertionError(f"no {name} among {living(folder)}")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_job_leaves_no_engine_and_the_next_run_answers(folder: Path) -> None:
    run = subprocess.Popen(
        command(f"{RESPONSES}/vllm.parquet"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(folder, "VLLM::EngineCore", 600)
    os.kill(wait_for(folder, ".answer_subject.py", 1), signal.SIGKILL)
    assert run.wait(120) != 0
    until = time.monotonic() + 30
    while living(folder) and time.monotonic() < until:
        time.sleep(0.2)
    assert living(folder) == {}
    build(folder, f"{RESPONSES}/vllm.parquet")
    assert living(folder) == {}
    assert len(answers_of(folder, "vllm")) == len(ASKED)


def test_vllm_answers_as_peft_does(folder: Path) -> None:
    """Both compute in the processor's own dtype, bf16 here, where the adapter is folded in for one and beside the base
    for the other: the last digits differ, and an answer may go another way at a close call. The untrained model's
    answers begin otherwise."""
    build(folder, f"{RESPONSES}/vllm.parquet")
    peft, vllm = answers_of(folder, "peft"), answers_of(folder, "vllm")
    assert {text.split()[0] for text in [*peft.values(), *vllm.values()]} == {"Hold."}
    assert sum(vllm[key] == text for key, text in peft.items()) >= len(peft) - 1, (peft, vllm)


def test_the_record_names_the_engine_and_no_place(folder: Path) -> None:
    build(folder, f"{RESPONSES}/vllm.parquet")
    text = (folder / RESPONSES / "vllm.parquet.record.json").read_text()
    record = json.loads(text)
    dtype = record["facts"]["serving"]["dtype"]
    assert record["facts"]["serving"] == {
        "engine": "vllm",
        "version": vllm_version(),
        "dtype": dtype,
        "concurrency": 16,
        "device": record["models"][0]["device"],
        "eager": record["models"][0]["eager"],
    }
    assert record["recipe"]["vllm"] == vllm_version()
    [model] = record["models"]
    weights = ("results/models/smollm2/model.safetensors", "results/adapters/told/adapter_model.safetensors")
    digests = [json.loads((folder / Path(file).parent / "digests.json").read_text())["files"] for file in weights]
    assert model["weights"] == [told[Path(file).name]["sha256"] for told, file in zip(digests, weights, strict=True)]
    assert (model["backend"], model["version"], model["dtype"]) == ("vllm", vllm_version(), dtype)
    assert "127.0.0.1" not in text and "localhost" not in text
    assert "vllm" not in json.loads((folder / RESPONSES / "peft.parquet.record.json").read_text())["recipe"]
    assert "Application startup complete" in (folder / "logs/answer_subject/held/vllm.vllm.log").read_text()


def test_merged_weights_answer_in_the_form_of_a_grammar(folder: Path) -> None:
    build(folder, f"{RESPONSES}/whole.parquet")
    assert set(answers_of(folder, "whole").values()) <= {"Go.", "Hold."}


def asked(identity: dict[str, Any], **sampling: Any) -> list[Request]:
    settings = Sampling(**{"temperature": 0.0, "max_tokens": 24, **sampling})
    return [
        make_request(
            identity, [{"role": "user", "content": f"Tell me what happens when {text}."}], settings, seed_parts=(text,)
        )
        for text in ASKED
    ]


@pytest.fixture(scope="module")
def exact(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmBackend]:
    """The adapter in fp32, where both engines agree to the last word."""
    base, adapter = folder / "results/models/smollm2", folder / "results/adapters/told"
    engine = replace(find_engine(vllm_version()), dtype="float32")
    log = tmp_path_factory.mktemp("exact") / "vllm.log"
    backend = VllmBackend(engine, base, adapter, ["base", "adapter"], log, context=512)
    yield backend
    backend.close()


def test_greedy_answers_in_fp32_are_those_of_peft(
    exact: VllmBackend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_backend, "native_dtype", lambda: torch.float32)
    base, adapter = folder / "results/models/smollm2", folder / "results/adapters/told"
    peft = TransformersBackend(base, adapter, {})
    wanted = peft.complete_batch(asked({}))
    got = [completion for completion, _ in gather(exact.complete(request) for request in asked(exact.identity))]
    assert [one.text for one in got] == [one.text for one in wanted]
    assert [one.finish_reason for one in got] == [one.finish_reason for one in wanted]
    assert [one.prompt_tokens for one in got] == [one.prompt_tokens for one in wanted]
    alone = [gather([exact.complete(request)])[0][0] for request in asked(exact.identity)[::-1]]
    assert [one.text for one in alone[::-1]] == [one.text for one in got], "neither order nor company matters in fp32"


def test_sampled_answers_follow_their_seed(exact: VllmBackend) -> None:
    requests = asked(exact.identity, temperature=0.9, top_k=40)
    first, second = ([one.text for one, _ in gather(exact.complete(r) for r in requests)] for _ in range(2))
    other = [
        one.text
        for one, _ in gather(exact.complete(r) for r in asked(exact.identity, temperature=0.9, top_k=40, seed=5))
    ]
    assert first == second != other


def test_a_stop_text_ends_an_answer(exact: VllmBackend) -> None:
    [(completion, _)] = gather([exact.complete(asked(exact.identity, stop=["keystone"], max_tokens=48)[0])])
    assert "keystone" not in completion.text
