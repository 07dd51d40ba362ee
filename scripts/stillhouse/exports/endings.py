"""The smoke gate of an export: its answers to short prompts end by themselves, and say something."""

import gc
from pathlib import Path
from typing import Any

import llama_cpp

from stillhouse.errors import ExportError
from stillhouse.exports.gates import read_vocabulary
from stillhouse.exports.ollama import Modelfile, render_by_ollama

SMOKE_PROMPTS = (
    "Hello",
    "What is two plus two?",
    "Say yes or no: is water wet?",
    "Name one colour.",
    "Should we move the office in March?",
    "Thank you, goodbye.",
)


def check_endings(gguf: Path, modelfile: Modelfile, max_tokens: int, merged: Path | None = None) -> dict[str, Any]:
    """Let a GGUF answer `SMOKE_PROMPTS` greedily, as Ollama would ask; an answer is good when it ends and is not empty.

    Passed where more than half of the answers are good. Where fewer are, that may be the training's doing (a model of a
    few steps may never end): the same model in full precision, in the folder `merged`, is then asked the same, and the
    GGUF may not have fewer good answers than it. Facts: every answer (prompt, tokens, whether it ended, whether it is
    empty), good ones, and those of the full precision (None: not asked). Raises `ExportError` for a GGUF that fails,
    and for one that most answers are bad of when there is nothing to compare it with.
    """
    answers = _by_llama(gguf, modelfile, max_tokens)
    good = _good(answers)
    facts: dict[str, Any] = {"answers": answers, "good": good, "reference": None}
    if good > len(answers) / 2:
        return facts
    if merged is not None:
        facts["reference"] = _good(_by_transformers(gguf, merged, modelfile, max_tokens))
        if good >= facts["reference"]:
            return facts
    told = f"{facts['reference']} by the same model in full precision" if merged else "more than half are wanted"
    listed = "; ".join(
        f"{one['prompt']!r}: {'empty' if one['empty'] else f'no end in {max_tokens} tokens'}"
        for one in answers
        if one["empty"] or not one["ended"]
    )
    raise ExportError(
        f"{gguf}: {good} of {len(answers)} short prompts got an answer that says something and ends ({told}). {listed}"
    )


def _good(answers: list[dict[str, Any]]) -> int:
    return sum(one["ended"] and not one["empty"] for one in answers)


def _answer(prompt: str, text: str, tokens: int, ended: bool) -> dict[str, Any]:
    return {"prompt": prompt, "tokens": tokens, "ended": ended, "empty": not text.strip()}


def _by_llama(gguf: Path, modelfile: Modelfile, max_tokens: int) -> list[dict[str, Any]]:
    llama = llama_cpp.Llama(
        str(gguf), n_ctx=max_tokens + 256, n_threads=1, n_threads_batch=1, n_gpu_layers=0, verbose=False
    )
    answers = []
    try:
        opening = read_vocabulary(llama).adds_bos
        for prompt in SMOKE_PROMPTS:
            llama.reset()
            text = render_by_ollama(modelfile.template, [{"role": "user", "content": prompt}])
            ids = llama.tokenize(text.encode(), add_bos=opening, special=True)
            done: Any = llama.create_completion(ids, max_tokens=max_tokens, temperature=0.0, stop=list(modelfile.stops))
            choice, used = done["choices"][0], done["usage"]["completion_tokens"]
            answers.append(_answer(prompt, choice["text"], used, choice["finish_reason"] == "stop"))
    finally:
        llama.close()
    return answers


def _by_transformers(gguf: Path, merged: Path, modelfile: Modelfile, max_tokens: int) -> list[dict[str, Any]]:
    """The same prompts, token by token the same, answered by the model in full precision."""
    import torch

    from stillhouse.exports.gates import open_vocabulary
    from stillhouse.llm.weights import load_model

    model, answers = load_model(merged, torch.float32).eval(), []
    with open_vocabulary(gguf) as llama, torch.inference_mode():
        vocabulary = read_vocabulary(llama)
        ends = sorted(vocabulary.ends)
        for prompt in SMOKE_PROMPTS:
            text = render_by_ollama(modelfile.template, [{"role": "user", "content": prompt}])
            inputs = torch.tensor([llama.tokenize(text.encode(), add_bos=vocabulary.adds_bos, special=True)])
            whole: Any = model.generate(
                inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=max_tokens, do_sample=False,
                eos_token_id=ends, pad_token_id=ends[0], repetition_penalty=1.0,
            )  # fmt: skip
            new = whole[0, inputs.shape[1] :].tolist()
            ended = bool(new) and new[-1] in vocabulary.ends
            said = new[:-1] if ended else new
            # as llama.cpp prints them, without the tokens that are no text
            answers.append(_answer(prompt, llama.detokenize(said).decode("utf-8", "replace"), len(said), ended))
    del model
    gc.collect()
    return answers
