"""Opens the models that a job's recipe names, each with the ledger in front."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.llm.client import Client, Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.operations import ledger_folder, model_settings
from stillhouse.llm.requests import Backend
from stillhouse.provenance.code import WORKFLOW
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json
from stillhouse.provenance.guards import PaidCalls, guards_of
from stillhouse.provenance.job import Params
from stillhouse.study.models import LlamaCppModel, OpenAIModel
from stillhouse.study.prices import price_of
from stillhouse.study.shares import slots_resource


def gguf_sha256(gguf: Path) -> str:
    """Sha256 of a materialised model's GGUF, out of the digests beside it."""
    return digest_in(gguf.parent / "gguf.digests.json", gguf.name)


def open_backend(name: str, config: dict[str, Any], folder: Path, slots: int | None = None) -> Backend:
    """The backend of model `name`; `folder` holds its weights, `slots` is this job's part of its limits (None: all)."""
    model = model_settings(config, name)
    if isinstance(model, LlamaCppModel):
        from stillhouse.llm.llama_cpp_backend import LlamaCppBackend

        gguf = folder / "model.gguf"
        identity = {"backend": "llama_cpp", "weights": gguf_sha256(gguf), "context": model.context}
        return LlamaCppBackend(gguf, identity, context=model.context)
    if isinstance(model, OpenAIModel):
        from stillhouse.llm.openai_backend import OpenAIBackend

        return OpenAIBackend(model, {"backend": "openai", "model": model.model}, name=name, slots=slots)
    from stillhouse.llm.recorded_backend import RecordedBackend

    file = Path(model.file) if Path(model.file).exists() else WORKFLOW / model.file
    return RecordedBackend(file, {"backend": "recorded", "file": digest_file(file)})


@dataclass(frozen=True)
class TrainedModels:
    """The models of one job that the study trains: identity by name, where servers log, and the threads of the job."""

    identities: Mapping[str, dict[str, Any]]
    log: Path = Path("logs")
    threads: int = 1

    def open(self, name: str) -> Any:
        """The model served (`llm.serving.Served`). Its module is imported by name: see `provenance.code.SERVING`."""
        identity = self.identities[name]
        weights, digests = ([Path(file) for file in identity[key]] for key in ("weights", "digests"))
        log = self.log.with_name(f"{self.log.name}.{name}.vllm.log")
        serving = importlib.import_module("stillhouse.llm.serving")
        return serving.open_served(identity, weights, digests, log, self.threads)


class Clients:
    """The clients of one job, opened when first asked for, so that a replayed job loads no weights.

    `models` is the folder of materialised weights, `writer` names the job in the ledger. `resources`
    are the job's in Snakemake: its slots of the models with limits (`study.shares`). `serving` tells by model how what
    the study trains was served.
    """

    def __init__(
        self,
        config: dict[str, Any],
        models: Path,
        writer: str,
        resources: Mapping[str, int] | None = None,
        trained: TrainedModels = TrainedModels({}),
    ) -> None:
        self.config = config
        self.models = models
        self.ledger = Ledger(ledger_folder(config), writer)
        self.usage = Usage()
        self.serving: dict[str, dict[str, Any]] = {}
        self._resources = resources or {}
        self._trained = trained
        self._open: dict[str, Client] = {}

    @classmethod
    def of_job(cls, params: Params) -> "Clients":
        """The clients of a job: the models that its recipe names."""
        told = [*params.recipe.get("models", []), params.recipe.get("model")]
        identities = {one["name"]: one for one in told if isinstance(one, dict) and "serve" in one}
        log = Path("logs", params.rule, *params.wildcards.values())
        trained = TrainedModels(identities, log, params.threads)
        return cls(params.config, Path("results/models"), params.writer, params.resources, trained)

    def __getitem__(self, name: str) -> Client:
        if name not in self._open and name in self._trained.identities:
            served = self._trained.open(name)
            self.serving[name] = served.facts
            self.add(name, served.backend)
        if name not in self._open:
            self.add(name, open_backend(name, self.config, self.models / name, self._slots(name)))
        return self._open[name]

    def _slots(self, name: str) -> int | None:
        return self._resources.get(slots_resource(name))

    def add(self, name: str, backend: Backend) -> Client:
        """Put an already opened backend (an adapter, an export) under `name`."""
        known = name in self.config.get("models", {})
        model = model_settings(self.config, name) if known else None
        price = price_of(model) if model else None
        free = not isinstance(model, OpenAIModel) or (price is not None and not price.input and not price.output)
        paid = None if free else PaidCalls(guards_of(self.config).get("max_paid_calls"))
        self._open[name] = Client(name, backend, self.ledger, self.usage, price, paid)
        return self._open[name]

    def facts(self) -> dict[str, Any]:
        """Calls, tokens and cost of this job, the models that it asked, and how those were served that the study trains."""
        models = [self._open[name].facts() for name in sorted(self._open)]
        return {**self.usage.facts(), "models": models, **({"serving": self.serving} if self.serving else {})}

    def close(self) -> None:
        """Free all backends and flush the ledger."""
        for client in self._open.values():
            client.close()
        self.ledger.close()


def digest_in(digests: Path, name: str) -> str:
    """Sha256 of `name` in a digests file."""
    return read_json(digests)["files"][name]["sha256"]
