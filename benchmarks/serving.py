"""Tokens a second of every way to serve an adapter, against transformers' `generate` one prompt at a time. Prints JSON.

python benchmarks/serving.py            64 prompts, the embedded model; needs an idle machine
python benchmarks/serving.py --small    8 prompts
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
# in place of this folder, whose datasets.py would hide the library of that name
sys.path[0] = str(WORKFLOW / "scripts")

MAX_TOKENS = 64
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "init_lora_weights": False}
DEVIATION = 0.005
"""Of the adapter's random numbers: enough to change words, too little to end sense."""
CONTEXT = 2048
BATCH = 16
"""As in scripts/answer_subject.py."""
QUANTS = ("Q8_0", "Q4_K_M")
PEERS = {"transformers generate": {}, "transformers generate in bf16": {"dtype": "bfloat16"}}

SERVED: dict[str, tuple[str, tuple[str, ...]]] = {
    "peft": ("peft", ("base/model.safetensors", "adapter/adapter_model.safetensors")),
    "merged": ("merged", ("merged/model.safetensors",)),
    "gguf:f16": ("gguf:f16", ("f16.gguf",)),
    **{f"gguf:{quant}": (f"gguf:{quant}", (f"{quant}.gguf",)) for quant in QUANTS},
    "gguf-adapter": ("gguf-adapter", ("base/model.gguf", "adapter.gguf")),
    "vllm": ("vllm", ("base/model.safetensors", "adapter/adapter_model.safetensors")),
}
"""What a study calls a way to serve, and the weights that it reads."""

Row = dict[str, Any]


def make_prompts(count: int) -> list[str]:
    """Half plans, half everyday prompts, of the shipped ones."""
    files = [WORKFLOW / f"data/prompts/{name}.jsonl" for name in ("plans", "everyday")]
    rows = [file.read_text(encoding="utf-8").splitlines()[: count // 2] for file in files]
    return [json.loads(line)["prompt"] for lines in rows for line in lines]


def prepare(folder: Path) -> None:
    """The embedded model, a random adapter, and all that it is shipped as, by the workflow's own functions."""
    from stillhouse.exports.convert import convert_adapter_gguf, convert_gguf, converter_folder
    from stillhouse.exports.merge import merge_adapter
    from stillhouse.exports.quantize import quantize_gguf
    from stillhouse.llm.weights import install_gguf, install_weights, write_digests

    install_weights("embedded", None, folder / "base")
    install_gguf("embedded", folder / "base/model.gguf")
    make_adapter(folder / "base", folder / "adapter")
    merge_adapter(folder / "base", folder / "adapter", folder / "merged")
    tools = converter_folder()
    convert_gguf(folder / "merged", folder / "f16.gguf", tools, "bench", {})
    convert_adapter_gguf(folder / "adapter", folder / "base", folder / "adapter.gguf", tools, "bench", {})
    for quant in QUANTS:
        quantize_gguf(folder / "f16.gguf", folder / f"{quant}.gguf", quant, threads=os.cpu_count() or 1)
    for _, files in SERVED.values():
        for file in files:
            path = folder / file
            write_digests(path.parent, [path.name], path.with_name(f"{path.name}.digests"))


def make_adapter(base: Path, folder: Path) -> None:
    """A LoRA of random numbers beside the base's tokenizer, with the digests that merging asks for."""
    import torch
    from peft import LoraConfig, get_peft_model

    from stillhouse.llm.weights import load_model, load_tokenizer, write_adapter_digests

    torch.manual_seed(7)
    model = get_peft_model(load_model(base, torch.float32), LoraConfig(**LORA))
    for name, numbers in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(numbers.data, std=DEVIATION if "lora_B" in name else 1.0 / LORA["r"])
    model.save_pretrained(str(folder))
    load_tokenizer(base).save_pretrained(str(folder))
    write_adapter_digests(folder, ["adapter_model.safetensors"], base, folder / "digests.json")


def ask_ours(plan: Row) -> Row:
    """As rule answer_subject does it: through a client with a ledger; loading and a first short answer apart."""
    from stillhouse.llm.client import Client
    from stillhouse.llm.ledger import Ledger
    from stillhouse.llm.requests import make_request
    from stillhouse.llm.running import gather
    from stillhouse.llm.serving import open_served
    from stillhouse.study.base import Sampling
    from stillhouse.study.vllm import vllm_version

    folder, place = Path(plan["folder"]), Path(plan["place"])
    serve, names = SERVED[plan["way"]]
    files = [folder / name for name in names]
    recipe = {"serve": serve, "context": CONTEXT, "vllm": vllm_version()}
    started = time.monotonic()
    digests = [file.with_name(f"{file.name}.digests") for file in files]
    served = open_served(recipe, files, digests, place / "server.log", plan["threads"], BATCH)
    client = Client(plan["way"], served.backend, Ledger(place / "ledger", "bench"))

    def answer(prompts: list[str], max_tokens: int) -> list[Any]:
        sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
        requests = [
            make_request(client.identity, [{"role": "user", "content": text}], sampling, seed_parts=(text,))
            for text in prompts
        ]
        client.decode_together(requests)
        return gather(client.answer(request) for request in requests)

    try:
        answer(["Say hello."], 2)
        loaded = time.monotonic()
        calls = answer(plan["prompts"], MAX_TOKENS)
        seconds = time.monotonic() - loaded
    finally:
        client.close()
    return {
        "seconds": round(seconds, 1),
        "load_seconds": round(loaded - started, 1),
        "tokens": sum(call.completion_tokens for call in calls),
        "threads": plan["threads"] if serve == "vllm" else 1,
        **served.facts,
        "flags": {**served.backend.identity, "weights": list(names)},
    }


def ask_theirs(plan: Row) -> Row:
    """As transformers' and PEFT's documentation do it: the adapter on its base, a prompt at a time."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, flags = Path(plan["folder"]), plan["flags"]
    started = time.monotonic()
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "base"))
    model = AutoModelForCausalLM.from_pretrained(str(folder / "base"), **flags)
    model = PeftModel.from_pretrained(model, str(folder / "adapter"))

    def answer(text: str, max_new_tokens: int) -> int:
        chat = [{"role": "user", "content": text}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        produced = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        return produced.shape[1] - inputs["input_ids"].shape[1]

    answer("Say hello.", 2)
    loaded = time.monotonic()
    tokens = sum(answer(text, MAX_TOKENS) for text in plan["prompts"])
    return {
        "seconds": round(time.monotonic() - loaded, 1),
        "load_seconds": round(loaded - started, 1),
        "tokens": tokens,
        "threads": torch.get_num_threads(),
        "engine": "transformers",
        "version": version("transformers"),
        "dtype": str(model.dtype).removeprefix("torch."),
        "batch": 1,
        "flags": {**flags, "do_sample": False, "adapter": "by PEFT, not merged", "peft": version("peft")},
    }


def run_apart(way: str, kind: str, plan: Row) -> Row:
    """One way in a process of its own."""
    place = Path(plan["place"])
    place.mkdir(parents=True)
    file = place / "plan.json"
    file.write_text(json.dumps({**plan, "way": way}))
    print(f"{way} ...", file=sys.stderr, flush=True)
    with open(place / "log", "wb") as log:
        done = subprocess.run([sys.executable, __file__, "--worker", kind, str(file)], stdout=log, stderr=log)
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{(place / 'log').read_text(errors='replace')[-3000:]}")
    return {"name": way, **json.loads((place / "told.json").read_text())}


def benchmark(count: int, threads: int) -> Row:
    """Each way in turn on the same prompts; ratios are tokens a second over those of the first peer."""
    from stillhouse.study.vllm import environment_fault

    prompts = make_prompts(count)
    fault = environment_fault()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("models ...", file=sys.stderr, flush=True)
        prepare(folder)
        ways = [(way, "theirs", flags) for way, flags in PEERS.items()]
        ways += [(way, "ours", {}) for way in SERVED if not (way == "vllm" and fault)]
        results = []
        for number, (way, kind, flags) in enumerate(ways):
            plan = {"folder": str(folder), "place": str(folder / str(number)), "prompts": prompts, "threads": threads}
            told = run_apart(way, kind, {**plan, "flags": flags})
            results.append({**told, "tokens_per_second": round(told["tokens"] / told["seconds"], 1)})
    peers = {told["dtype"]: told["tokens_per_second"] for told in reversed(results) if told["name"] in PEERS}
    for told in results:
        told["ratio"] = round(told["tokens_per_second"] / results[0]["tokens_per_second"], 2)
        if told["dtype"] in peers:
            told["ratio_at_this_dtype"] = round(told["tokens_per_second"] / peers[told["dtype"]], 2)
    settings = {"prompts": len(prompts), "max_tokens": MAX_TOKENS, "temperature": 0.0, "lora": LORA, "seed": 7}
    settings |= {
        "cores": os.cpu_count(),
        "model": "SmolLM2-135M-Instruct",
        "left_out": {"vllm": fault} if fault else {},
    }
    return {"benchmark": "serving", "settings": settings, "results": results}


def main() -> None:
    """Run the benchmark, or one of its ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="8 prompts")
    parser.add_argument("--threads", type=int, default=1, help="of vLLM's arithmetic on a processor; as in the rule: 1")
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "PLAN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, file = arguments.worker
        plan = json.loads(Path(file).read_text())
        told = ask_ours(plan) if kind == "ours" else ask_theirs(plan)
        Path(file).with_name("told.json").write_text(json.dumps(told))
    else:
        print(json.dumps(benchmark(8 if arguments.small else 64, arguments.threads), indent=2))


if __name__ == "__main__":
    main()
