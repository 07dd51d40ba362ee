"""Quantises GGUF files by llama.cpp."""

import ctypes
import logging
from pathlib import Path
from typing import Any

import llama_cpp

from stillhouse.errors import ExportError
from stillhouse.exports.importance import llama_importance
from stillhouse.exports.llama_log import captured_log
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import atomic_path

logger = logging.getLogger(__name__)

FILE_TYPES = {
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q6_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    "Q5_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q3_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M,
}


def quantize_gguf(
    source: Path, target: Path, quant: str, threads: int = 1, importance: Path | None = None
) -> dict[str, Any]:
    """Quantise the f16 GGUF `source` to `quant`, by the importance matrix in `importance` if any; metadata is kept.

    Facts: sha256, size, the size's share of the source's, and how many tensors had a shape that this
    quantisation cannot hold and got a wider one. Raises `ExportError` when llama.cpp refuses.
    """
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[quant]
    params.nthread = threads
    with atomic_path(target) as temporary, captured_log() as lines, llama_importance(importance) as matrix:
        params.imatrix = matrix
        status = llama_cpp.llama_model_quantize(str(source).encode(), str(temporary).encode(), ctypes.byref(params))
        if status != 0:
            words = "".join(lines)[-500:]
            raise ExportError(f"llama.cpp could not quantise {source} to {quant} (status {status}): {words}")
    wider = sum("falling back" in line for line in lines)
    logger.info("%s: %d tensors in a wider format than %s", target.name, wider, quant)
    size = target.stat().st_size
    share = round(size / source.stat().st_size, 4)
    return {"sha256": digest_file(target), "size": size, "share_of_source": share, "wider_tensors": wider}


def smoke(gguf: Path, prompts: list[str], max_tokens: int = 200) -> list[dict[str, Any]]:
    """Ask a GGUF each prompt greedily: its answer, and whether it ended by itself."""
    llama = llama_cpp.Llama(str(gguf), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
    answers = []
    for prompt in prompts:
        llama.reset()
        message = [{"role": "user", "content": prompt}]
        choice = llama.create_chat_completion(message, temperature=0.0, max_tokens=max_tokens)["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
        answers.append({"prompt": prompt, "answer": text, "ended": reason == "stop"})
    llama.close()
    return answers
