"""Runs a GGUF in this process by llama.cpp, with GBNF grammars and JSON schemas."""

import asyncio
import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp import Llama, LlamaGrammar
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from llama_cpp.llama_grammar import json_schema_to_gbnf

from stillhouse.errors import CallError, InputError
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.structured import form_of

logger = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def compile_grammar(text: str) -> LlamaGrammar:
    """Compile GBNF or a JSON schema; raises `InputError` when llama.cpp does not take it.

    It is parsed once before use: llama-cpp-python passes what llama.cpp refused on as a null pointer, and the
    process would die of it.
    """
    if form_of(text) == "json_schema":
        text = _gbnf_of(text)
    parsed = llama_cpp.llama_sampler_init_grammar(None, text.encode(), b"root") if text.strip() else None
    if not parsed:
        raise InputError("grammar is not valid GBNF: llama.cpp refuses it (undefined or left-recursive rule, no root?)")
    llama_cpp.llama_sampler_free(parsed)
    return LlamaGrammar.from_string(text, verbose=False)


def _gbnf_of(schema: str) -> str:
    """A JSON schema as GBNF, by the converter of llama-cpp-python."""
    try:
        return json_schema_to_gbnf(schema)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, AssertionError) as error:
        raise InputError(f"the JSON schema cannot be turned into a grammar: {type(error).__name__}: {error}") from error


class LlamaCppBackend:
    """One GGUF, optionally with an adapter GGUF on it.

    One thread and a reset of the context before each call make an answer independent of the calls before
    it and of the number of cores; the jobs of a study run beside each other instead.
    """

    grammars = True
    schemas = True
    concurrency = 1

    def __init__(self, gguf: Path, identity: dict[str, Any], *, context: int, adapter: Path | None = None) -> None:
        self.identity = identity
        self._llama = Llama(
            str(gguf),
            n_ctx=context,
            n_threads=1,
            n_threads_batch=1,
            lora_path=str(adapter) if adapter else None,
            verbose=False,
        )

    def render(self, request: Request) -> str | None:
        """The text that the model reads for `request`, by the GGUF's own chat template; None where it has none."""
        template = self._llama.metadata.get("tokenizer.chat_template")
        if template is None:
            return None
        tokens = [
            self._llama._model.token_get_text(token) for token in (self._llama.token_eos(), self._llama.token_bos())
        ]
        return Jinja2ChatFormatter(template, *tokens)(messages=request.chat()).prompt

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """Answer in a worker thread; raises `CallError` when the prompt does not fit the context."""
        return await asyncio.to_thread(self._complete, request), 1

    def _complete(self, request: Request) -> Completion:
        if request.tools or request.whole:
            raise CallError("llama.cpp in process reads messages of text alone; ask prompts with tools over HTTP")
        settings = request.sampling
        grammar = compile_grammar(request.grammar) if request.grammar else None
        self._llama.reset()
        try:
            answer = self._llama.create_chat_completion(
                request.chat(),
                temperature=settings["temperature"],
                top_p=settings["top_p"],
                top_k=settings.get("top_k", 0),
                min_p=settings.get("min_p", 0.0),
                repeat_penalty=1.0,
                max_tokens=settings["max_tokens"],
                stop=settings["stop"],
                seed=settings["seed"],
                grammar=grammar,
            )
        except ValueError as error:
            raise CallError(f"llama.cpp refused the prompt: {error}") from error
        choice, usage = answer["choices"][0], answer["usage"]
        truncated = choice["finish_reason"] == "length"
        split = split_reasoning(choice["message"]["content"] or "", truncated=truncated)
        return Completion(
            text=split.answer,
            finish_reason=choice["finish_reason"],
            reasoning=split.reasoning,
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
            flags=split.flags,
        )

    def close(self) -> None:
        """Free the weights."""
        self._llama.close()
