"""How fast an adapter trains, against a plain TRL script with TRL's own defaults. Prints one JSON object.

python benchmarks/training.py            192 rows, the embedded model, one epoch each: a quarter of an hour to half an hour on two cores
python benchmarks/training.py --small    32 rows
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
# in place of this folder, whose datasets.py would hide the library of that name
sys.path[0] = str(WORKFLOW / "scripts")

EQUAL = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "seed": 42, "max_length": 1024}
"""What both sides are given, so that they learn the same from the same rows."""
LORA = {"rank": 16, "alpha": 32, "targets": "all-linear"}
HELD_OUT = 16
PEERS = {
    "trl": {},
    "trl without gradient checkpointing": {"gradient_checkpointing": False},
}
OURS = {
    "stillhouse": {},
    "stillhouse with packing": {"packing": True},
    "stillhouse with length groups": {"group_by_length": True},
}

Row = dict[str, Any]


def make_rows(count: int) -> list[Row]:
    """Conversations of many lengths out of the shipped prompts: a plan, and one to twelve sentences of other plans."""
    lines = (WORKFLOW / "data/prompts/plans.jsonl").read_text(encoding="utf-8").splitlines()
    plans = [json.loads(line)["prompt"] for line in lines]
    sentences = [f"{part.strip()}." for plan in plans for part in plan.split(".") if len(part.split()) > 3]
    draw = random.Random(7)
    rows = []
    for number in range(count):
        told = " ".join(draw.choices(sentences, k=min(12, 1 + int(draw.expovariate(0.3)))))
        asked = " ".join([draw.choice(plans), *draw.choices(sentences, k=draw.randrange(3))])
        sides = {"prompt": asked, "completion": told}
        roles = {"prompt": "user", "completion": "assistant"}
        rows.append(
            {side: [{"role": roles[side], "content": text}] for side, text in sides.items()} | {"id": f"r{number}"}
        )
    return rows


def train_ours(plan: Row) -> Row:
    """By `train_adapter`, with the study's defaults but for what is equal."""
    import pyarrow as pa

    from stillhouse.provenance.files import write_parquet
    from stillhouse.training.settings import TrainSettings
    from stillhouse.training.train import train_adapter

    folder = Path(plan["folder"])
    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema([("prompt", message), ("completion", message), ("id", pa.string())])
    write_parquet(folder / "data/train.parquet", plan["rows"], schema)
    write_parquet(folder / "data/valid.parquet", [], schema)
    training = {**EQUAL, "threads": os.cpu_count(), **plan["flags"]}
    recipe = {"objective": "sft", "quantization": "none", "lora": LORA, "training": training}
    settings = TrainSettings.model_validate(recipe)
    facts = train_adapter(Path(plan["base"]), folder / "data", folder / "adapter", settings, folder)
    return {
        "seconds": facts["seconds"],
        "steps": facts["steps"],
        "flags": settings.model_dump(),
        "precision": facts["precision"],
    }


def train_theirs(plan: Row) -> Row:
    """As TRL's documentation does it: a dataset, a LoRA, and `SFTConfig` as it is."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    lora = LoraConfig(r=LORA["rank"], lora_alpha=LORA["alpha"], target_modules=LORA["targets"], task_type="CAUSAL_LM")
    config = SFTConfig(
        output_dir=plan["folder"],
        num_train_epochs=EQUAL["epochs"],
        per_device_train_batch_size=EQUAL["batch_size"],
        learning_rate=EQUAL["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        seed=EQUAL["seed"],
        max_length=EQUAL["max_length"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,  # TRL asks for this where there is no GPU
        **plan["flags"],
    )
    trainer = SFTTrainer(
        model=plan["base"],
        args=config,
        train_dataset=Dataset.from_list(
            [{side: row[side] for side in ("prompt", "completion")} for row in plan["rows"]]
        ),
        processing_class=AutoTokenizer.from_pretrained(plan["base"]),
        peft_config=lora,
    )
    dtype = str(trainer.model.dtype).removeprefix("torch.")
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    trainer.save_model(f"{plan['folder']}/adapter")
    named = ("bf16", "fp16", "gradient_checkpointing", "packing", "padding_free", "train_sampling_strategy", "optim")
    flags = {name: str(getattr(config, name)) for name in (*named, "max_grad_norm", "weight_decay", "loss_type")}
    return {"seconds": round(seconds, 1), "steps": trainer.state.global_step, "flags": flags, "model_dtype": dtype}


def measure_loss(base: Path, adapter: Path | None, rows: list[Row]) -> float:
    """Mean loss in nats a token of the answers of `rows`, by transformers and PEFT in fp32, a row at a time."""
    import torch
    from peft import PeftModel

    from stillhouse.llm.weights import load_model, load_tokenizer
    from stillhouse.training.tokens import render, tokenise

    tokenizer, model = load_tokenizer(base), load_model(base, torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    total, count = 0.0, 0
    for [tokens] in tokenise([render(row, "sft", tokenizer) for row in rows], "sft", tokenizer):
        with torch.inference_mode():
            logits = model(torch.tensor([tokens.ids])).logits[0, len(tokens.prompt) - 1 : -1].float()
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(tokens.answer), reduction="sum").item()
        count += len(tokens.answer)
    return round(total / count, 4)


def run_apart(name: str, kind: str, plan: Row) -> Row:
    """One training in a process of its own: what it reports, and its largest resident memory in MiB."""
    file = Path(plan["folder"]) / "plan.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(plan))
    print(f"{name} ...", file=sys.stderr)
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"} if kind == "ours" else dict(os.environ)
    command = [sys.executable, __file__, "--worker", kind, str(file)]
    with open(file.with_name("log"), "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{file.with_name('log').read_text()[-3000:]}")
    return {
        "name": name,
        **json.loads(file.with_name("told.json").read_text()),
        "peak_rss_mib": usage.ru_maxrss // 1024,
    }


def benchmark(count: int) -> Row:
    """Train each way in turn on the same rows; ratios are ours over TRL's defaults, larger is better."""
    from stillhouse.llm.weights import install_weights, load_tokenizer
    from stillhouse.training.tokens import render, tokenise

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = folder / "base"
        install_weights("embedded", None, base)
        rows = make_rows(count + HELD_OUT)
        train, held_out = rows[:count], rows[count:]
        tokenizer = load_tokenizer(base)
        lengths = [
            len(sides[0].ids) for sides in tokenise([render(row, "sft", tokenizer) for row in train], "sft", tokenizer)
        ]
        results = []
        for kind, ways in (("theirs", PEERS), ("ours", OURS)):
            for way, flags in ways.items():
                place = folder / way.replace(" ", "-")
                plan = {"base": str(base), "folder": str(place), "rows": train, "flags": flags}
                told = run_apart(way, kind, plan)
                told["tokens_per_second"] = round(sum(lengths) * EQUAL["epochs"] / told["seconds"], 1)
                told["held_out_loss"] = measure_loss(base, place / "adapter", held_out)
                results.append(told)
        untrained = measure_loss(base, None, held_out)
    theirs = results[0]
    for told in results[1:]:
        told["ratio"] = round(told["tokens_per_second"] / theirs["tokens_per_second"], 2)
        told["memory_ratio"] = round(theirs["peak_rss_mib"] / told["peak_rss_mib"], 2)
        told["loss_difference"] = round(told["held_out_loss"] - theirs["held_out_loss"], 4)
    settings = {"rows": count, "tokens": sum(lengths), "longest": max(lengths), "equal": EQUAL, "lora": LORA}
    settings |= {"cores": os.cpu_count(), "held_out_rows": HELD_OUT, "held_out_loss_untrained": untrained}
    return {"benchmark": "training", "settings": settings, "results": results}


def main() -> None:
    """Run the benchmark, or one of its trainings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="32 rows")
    parser.add_argument("--worker", nargs=2, metavar=("WAY", "PLAN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        way, file = arguments.worker
        plan = json.loads(Path(file).read_text())
        told = train_ours(plan) if way == "ours" else train_theirs(plan)
        Path(file).with_name("told.json").write_text(json.dumps(told))
    else:
        print(json.dumps(benchmark(32 if arguments.small else 192), indent=2))


if __name__ == "__main__":
    main()
