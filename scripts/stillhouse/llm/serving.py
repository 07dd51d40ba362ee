"""Opens adapters and exports the way that a study serves them.

Apart from `factory`, so that jobs which ask models only do not depend on the training stack.
"""

from pathlib import Path

from stillhouse.llm.factory import digest_in
from stillhouse.llm.requests import Backend


def open_served(serve: str, weights: list[Path], digests: list[Path], context: int | None, batch: int) -> Backend:
    """The backend of an adapter or export served as `serve` says (peft, merged, gguf-adapter, gguf:QUANT).

    `weights` are its files, base before adapter; `digests` the digest files in the same order.
    """
    sums = [digest_in(file, weight.name) for file, weight in zip(digests, weights, strict=True)]
    if serve in ("peft", "merged"):
        from stillhouse.llm.transformers_backend import TransformersBackend

        identity = {"backend": "transformers", "weights": sums}
        adapter = weights[1].parent if serve == "peft" else None
        return TransformersBackend(weights[0].parent, adapter, identity, batch=batch)
    from stillhouse.llm.llama_cpp_backend import LlamaCppBackend

    adapter = weights[1] if serve == "gguf-adapter" else None
    identity = {"backend": "llama_cpp", "weights": sums[0], "context": context}
    if adapter:
        identity["adapter"] = sums[1]
    return LlamaCppBackend(weights[0], identity, context=context, adapter=adapter)
