"""Runs a folder of safetensors in this process by transformers, optionally with a PEFT adapter folded in."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig

from stillhouse.errors import CallError
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.weights import load_model, load_tokenizer, native_dtype, quiet_transformers
from stillhouse.provenance.digests import canonical_json

END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>")
"""Tokens that end a turn wherever a vocabulary has them, as llama.cpp holds it."""


_DRAWING = threading.Lock()
"""torch draws all its random numbers from one source: between a request's seed and its last token nobody else may."""


class TransformersBackend:
    """A model folder, or an adapter on its base, summed in fp32 and run in what the processor computes in.

    Of a list, greedy requests are decoded side by side, in groups that depend only on that list. Sampled requests go one
    by one, each with its own seed, and so do requests that come alone: their answers depend on nothing else. bf16 decodes 2.5 times faster than fp32 where the processor
    has it, but answers differ now and then: so the dtype is part of the identity.
    """

    grammars = False
    concurrency = 1

    def __init__(
        self, base: Path, adapter: Path | None, identity: dict[str, Any], batch: int = 16, threads: int = 1
    ) -> None:
        torch.set_num_threads(threads)
        self._threads = threads
        dtype = native_dtype()
        self.identity = {**identity, "dtype": str(dtype).removeprefix("torch.")}
        self.batch = batch
        self._tokenizer = load_tokenizer(adapter or base)
        self._tokenizer.padding_side = "left"
        model = load_model(base, torch.float32)
        if adapter:
            with quiet_transformers():
                model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
        self._ends = self._end_ids(model.generation_config)
        # The folder's own defaults (a repetition penalty, a temperature) are no part of a request.
        pad = self._tokenizer.pad_token_id
        model.generation_config = GenerationConfig(eos_token_id=self._ends, pad_token_id=pad)
        self._model = model.to(dtype).eval()

    def _end_ids(self, defaults: GenerationConfig | None) -> list[int]:
        own = defaults.eos_token_id if defaults else None
        vocabulary = self._tokenizer.get_vocab()
        named = {vocabulary[token] for token in END_TOKENS if token in vocabulary}
        listed = own if isinstance(own, list) else [own]
        return sorted({*named, *listed, self._tokenizer.eos_token_id} - {None})

    def render(self, request: Request) -> str:
        """The text that the model reads for `request`: the chat template with the assistant's turn opened."""
        chat, tools = request.chat(), request.tools
        return self._tokenizer.apply_chat_template(chat, tools=tools, tokenize=False, add_generation_prompt=True)

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """Answer one request in a worker thread; raises `CallError` when the prompt does not fit the context."""
        return (await asyncio.to_thread(self.complete_batch, [request]))[0], 1

    def complete_batch(self, requests: list[Request]) -> list[Completion]:
        """Answer `requests`, in their order. The same list always gives the same answers.

        Raises `CallError` when a prompt with its `max_tokens` does not fit the context.
        """
        prompts = [self._tokenizer.encode(self.render(r), add_special_tokens=False) for r in requests]
        for request, prompt in zip(requests, prompts, strict=True):
            self._check_length(request, prompt)
        answers: dict[int, Completion] = {}
        for group in self._groups(requests, prompts):
            chosen = [prompts[i] for i in group]
            for i, completion in zip(group, self._decode(requests[group[0]], chosen), strict=True):
                answers[i] = completion
        return [answers[i] for i in range(len(requests))]

    def _check_length(self, request: Request, prompt: list[int]) -> None:
        needed, context = len(prompt) + request.sampling["max_tokens"], self._model.config.max_position_embeddings
        if needed > context:
            raise CallError(f"prompt and max_tokens need {needed} tokens, the model's context has {context}")

    def _groups(self, requests: list[Request], prompts: list[list[int]]) -> Iterator[tuple[int, ...]]:
        """Indices of requests that are decoded side by side: like settings, like lengths, none that samples."""
        greedy: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            if request.sampling["temperature"] > 0:
                yield (i,)
            else:
                settings = {k: request.sampling[k] for k in ("max_tokens", "stop")}
                greedy.setdefault(canonical_json(settings), []).append(i)
        for _, indices in sorted(greedy.items()):
            yield from batched_indices(sorted(indices, key=lambda i: (len(prompts[i]), i)), self.batch)

    def _decode(self, request: Request, prompts: list[list[int]]) -> list[Completion]:
        """Complete `prompts` by the settings of `request`."""
        padded = self._tokenizer.pad({"input_ids": prompts}, padding=True, return_tensors="pt")
        settings = request.sampling
        stops = {"stop_strings": settings["stop"], "tokenizer": self._tokenizer} if settings["stop"] else {}
        with _DRAWING, torch.inference_mode():
            torch.set_num_threads(self._threads)  # every thread of the job counts its own
            torch.manual_seed(settings["seed"])
            produced = self._model.generate(
                input_ids=padded["input_ids"],
                attention_mask=padded["attention_mask"],
                max_new_tokens=settings["max_tokens"],
                **self._drawing(settings),
                **stops,
            )
        width = padded["input_ids"].shape[1]
        return [
            self._completion(len(prompt), row[width:].tolist(), settings["stop"])
            for prompt, row in zip(prompts, produced, strict=True)
        ]

    @staticmethod
    def _drawing(settings: dict[str, Any]) -> dict[str, Any]:
        """How tokens are drawn, in transformers' words; its own default of top_k 50 is never meant."""
        if settings["temperature"] == 0:
            return {"do_sample": False}
        drawing = {"do_sample": True, "temperature": settings["temperature"], "top_p": settings["top_p"]}
        return {**drawing, "top_k": settings.get("top_k") or 0, "min_p": settings.get("min_p")}

    def _completion(self, prompt_tokens: int, produced: list[int], stops: list[str]) -> Completion:
        """Cut what a row produced at its first end token and its first stop text."""
        end = next((i for i, token in enumerate(produced) if token in self._ends), None)
        kept = produced if end is None else produced[:end]
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        cuts = [text.find(stop) for stop in stops if stop in text]
        finish = "length" if end is None and not cuts else "stop"
        split = split_reasoning(text[: min(cuts)] if cuts else text, truncated=finish == "length")
        return Completion(
            text=split.answer,
            finish_reason=finish,
            reasoning=split.reasoning,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(kept),
            flags=split.flags,
        )

    def close(self) -> None:
        """Free the weights."""
        del self._model


def batched_indices(indices: list[int], size: int) -> Iterator[tuple[int, ...]]:
    """`indices` in runs of at most `size`."""
    for start in range(0, len(indices), size):
        yield tuple(indices[start : start + size])
