"""What answers for a subject or a model that the study trains: its adapter, files, context and memory; and faults of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stillhouse.study.bases import base_files, base_model
from stillhouse.study.evaluations import Subject
from stillhouse.study.faults import known
from stillhouse.study.models import TrainedModel
from stillhouse.study.serve import Trained, way_of
from stillhouse.study.study import Study
from stillhouse.study.vllm import vllm_version

MERGED = ("merged", "vllm")
"""Ways to serve an export that read its merged weights."""

MEMORY, VLLM_MEMORY = 4000, 9000
"""MiB that a job may take which answers by an engine of its own; vLLM runs three processes besides."""


@dataclass(frozen=True)
class ServedFiles:
    """The large files that an engine loads, the base before the adapter, and the files of their digests in the same order."""

    weights: list[str]
    digests: list[str]


def answering(study: Study, subject: Subject) -> Trained | None:
    """The adapter or export that answers for a subject: named by itself or by its model; None where neither does."""
    entry = subject if subject.model is None else study.models[subject.model]
    return entry if isinstance(entry, TrainedModel) or isinstance(entry, Subject) and _is_trained(entry) else None


def _is_trained(entry: Trained) -> bool:
    return entry.adapter is not None or entry.export is not None


def adapter_of(study: Study, entry: Trained) -> str:
    """The adapter behind what a study trains."""
    return entry.adapter or study.exports[entry.export].adapter


def served_files(study: Study, entry: Trained) -> ServedFiles:
    """What an engine loads for `entry` in the way that it is served."""
    if entry.adapter:
        base, folder = base_files(study, entry.adapter), f"results/adapters/{entry.adapter}"
        return ServedFiles(
            [base.weights, f"{folder}/adapter_model.safetensors"], [base.digests, f"{folder}/digests.json"]
        )
    folder, quant = f"results/exports/{entry.export}", str(entry.serve).removeprefix("gguf:")
    if entry.serve in MERGED:
        return ServedFiles([f"{folder}/merged/model.safetensors"], [f"{folder}/merged/digests.json"])
    if entry.serve == "gguf-adapter":
        base = base_files(study, adapter_of(study, entry))
        return ServedFiles(
            [base.gguf, f"{folder}/{entry.export}-adapter.gguf"], [base.gguf_digests, f"{folder}/digests/adapter.json"]
        )
    return ServedFiles([f"{folder}/{entry.export}-{quant}.gguf"], [f"{folder}/digests/{quant}.json"])


def served_context(study: Study, entry: Trained) -> int | None:
    """Context window where llama.cpp or vLLM serves: that of the model at the bottom. transformers takes the weights' own."""
    if entry.export is None and entry.serve != "vllm":
        return None
    return study.models[base_model(study, adapter_of(study, entry))].context


def served_version(entry: Trained) -> dict[str, str]:
    """vLLM's version, another of which may answer otherwise; no key for what another engine serves."""
    return {"vllm": vllm_version()} if entry.serve == "vllm" else {}


def served_memory(entry: Trained) -> int:
    """MiB that loading and asking it may take."""
    return VLLM_MEMORY if entry.serve == "vllm" else MEMORY


def identity_of(study: Study, entry: TrainedModel) -> dict[str, Any]:
    """What the study decides of a trained model: what it is, how it is served, and the files that a job opens."""
    files, context = served_files(study, entry), served_context(study, entry)
    return {
        "backend": entry.backend,
        **({"adapter": entry.adapter} if entry.adapter else {"export": entry.export}),
        "serve": way_of(entry),
        "weights": files.weights,
        "digests": files.digests,
        **({"context": context} if context is not None else {}),
        **served_version(entry),
    }


def serving_faults(study: Study, path: str, entry: Trained) -> Iterator[str]:
    """A line where an adapter or export is not there, or an export does not make the file that is to answer."""
    if entry.adapter is not None:
        yield from known(f"{path}.adapter", entry.adapter, study.adapters, "adapters")
    if entry.export is None:
        return
    yield from known(f"{path}.export", entry.export, study.exports, "exports")
    export, serve = study.exports.get(entry.export), entry.serve or ""
    if export is None:
        return
    made, quant = sorted({*export.quants, "f16"}), serve.removeprefix("gguf:")
    if serve.startswith("gguf:") and quant not in made:
        yield (
            f"{path}.serve: export {entry.export!r} does not make {quant} "
            f"(it makes {', '.join(made)}); add it to exports.{entry.export}.quants"
        )
    if serve == "gguf-adapter" and not export.adapter_gguf:
        yield f"{path}.serve: export {entry.export!r} makes no adapter GGUF; set exports.{entry.export}.adapter_gguf"
