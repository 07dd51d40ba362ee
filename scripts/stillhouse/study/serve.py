"""Ways to serve what a study trains: which of them fit an adapter or an export, for a subject as for a model."""

import re
from typing import Protocol

SERVE_PATTERN = re.compile(r"peft|merged|vllm|gguf-adapter|gguf:[A-Za-z0-9_]+")
OF_ADAPTER, OF_EXPORT = ("peft", "vllm"), "gguf:QUANT, gguf-adapter, merged or vllm"
SERVE = f"adapter: peft (the default) or vllm; export: {OF_EXPORT}"
"""What the key takes, for its description."""


class Trained(Protocol):
    """A subject or a model that may be an adapter or an export of the study."""

    @property
    def adapter(self) -> str | None: ...

    @property
    def export(self) -> str | None: ...

    @property
    def serve(self) -> str | None: ...


def only_kind(entry: object, kinds: tuple[str, ...]) -> str:
    """The one of `kinds` that an entry names; raises `ValueError` when it names none or several."""
    named = [kind for kind in kinds if getattr(entry, kind) is not None]
    if len(named) != 1:
        raise ValueError(f"needs exactly one of {', '.join(kinds)}; found {named or 'none'}")
    return named[0]


def check_serve(kind: str, serve: str | None) -> None:
    """Raise `ValueError` where `serve` is no way to serve an entry of `kind`: adapter, export or anything else."""
    if serve is not None and not SERVE_PATTERN.fullmatch(serve):
        raise ValueError(f"serve: {serve!r} is not one of peft, vllm, merged, gguf-adapter, gguf:QUANT")
    if serve is not None and kind not in ("adapter", "export"):
        raise ValueError(f"serve is for an adapter or an export, not for a {kind}")
    if kind == "adapter" and serve not in (None, *OF_ADAPTER):
        raise ValueError(f"an adapter is served by peft or vllm; for {serve!r} name an export")
    if kind == "export" and serve in (None, "peft"):
        raise ValueError(f"an export needs serve: {OF_EXPORT}")


def way_of(entry: Trained) -> str | None:
    """How an adapter or an export is served, peft where an adapter does not say; None for anything else."""
    return entry.serve or ("peft" if entry.adapter else None)


def engine_of(entry: Trained) -> str:
    """What runs an adapter or an export, as the identity of its calls names it."""
    way = way_of(entry)
    return {"peft": "transformers", "merged": "transformers", "vllm": "vllm"}.get(way, "llama_cpp")


def form_fault(entry: Trained) -> str | None:
    """Why an adapter or an export can hold no grammar as it is served; None where it can."""
    if way_of(entry) == "peft":
        return "an adapter served by peft cannot hold a grammar; use serve: vllm, or name an export"
    if entry.serve == "merged":
        return "merged weights are served by transformers, which holds no grammar; use serve: gguf:f16"
    return None
