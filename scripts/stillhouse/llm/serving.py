"""Opens adapters and exports the way that a study serves them.

Apart from `factory`, which imports it by name where a job asks what the study trains: other jobs do not depend on the
training stack.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stillhouse.llm.factory import digest_in
from stillhouse.llm.requests import Backend

BATCH = 16
"""Requests that transformers decodes side by side, where a list of them is asked."""


@dataclass(frozen=True)
class Served:
    """An opened backend and the facts of the record."""

    backend: Backend
    facts: dict[str, Any]


def open_served(
    recipe: dict[str, Any], weights: list[Path], digests: list[Path], log: Path, threads: int = 1, batch: int = BATCH
) -> Served:
    """The backend of an adapter or export served as `recipe` says (peft, merged, vllm, gguf-adapter, gguf:QUANT).

    A subject's recipe or a model's identity: both give a call the same identity. `weights` are its files, base before
    adapter; `digests` the digest files in the same order. `log` is for a server's own words; `threads` are those that it
    may use.
    """
    serve, context = recipe["serve"], recipe.get("context")
    sums = [digest_in(file, weight.name) for file, weight in zip(digests, weights, strict=True)]
    if serve in ("peft", "merged"):
        return _transformers(weights, sums, batch)
    if serve == "vllm":
        return _vllm(recipe, weights, sums, log, threads)
    from stillhouse.llm.llama_cpp_backend import LlamaCppBackend

    adapter = weights[1] if serve == "gguf-adapter" else None
    identity = {"backend": "llama_cpp", "weights": sums[0], "context": context}
    if adapter:
        identity["adapter"] = sums[1]
    backend = LlamaCppBackend(weights[0], identity, context=context, adapter=adapter)
    return Served(backend, _facts("llama.cpp", version("llama-cpp-python"), _precision(serve), concurrency=1))


def _transformers(weights: list[Path], sums: list[str], batch: int) -> Served:
    from stillhouse.llm.transformers_backend import TransformersBackend

    adapter = weights[1].parent if len(weights) > 1 else None
    identity = {"backend": "transformers", "weights": sums}
    backend = TransformersBackend(weights[0].parent, adapter, identity, batch=batch)
    facts = _facts("transformers", version("transformers"), backend.identity["dtype"], batch=batch)
    return Served(backend, facts)


def _vllm(recipe: dict[str, Any], weights: list[Path], sums: list[str], log: Path, threads: int) -> Served:
    from stillhouse.llm.vllm_backend import VllmBackend, find_engine

    engine = find_engine(recipe["vllm"])
    adapter = weights[1].parent if len(weights) > 1 else None
    backend = VllmBackend(engine, weights[0].parent, adapter, sums, log, context=recipe["context"], threads=threads)
    facts = _facts("vllm", engine.version, engine.dtype, concurrency=backend.concurrency)
    return Served(backend, {**facts, "device": engine.device, "eager": backend.identity["eager"]})


def _facts(engine: str, number: str, dtype: str, **beside: int) -> dict[str, Any]:
    return {"engine": engine, "version": number.split("+")[0], "dtype": dtype, **beside}


def _precision(serve: str) -> str:
    """What a GGUF's numbers are; an adapter's stand beside those of its base."""
    return serve.removeprefix("gguf:") if serve.startswith("gguf:") else "the base's GGUF, the adapter in f16"
