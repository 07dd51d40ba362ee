"""A tiny tokenizer and datasets for tests of training; they need no package and no download."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from stillhouse.provenance.files import write_parquet

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(["move the office verdict risk gate"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[0]
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def sft_row(number: int, answer: str | None = None) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": f"Should we move the office in {number} weeks?"}],
        "completion": [{"role": "assistant", "content": f"Verdict {number}: wait." if answer is None else answer}],
        "prompt_id": f"{number:016x}",
        "id": f"plan-{number}",
    }


def preference_row(number: int) -> dict[str, Any]:
    row = sft_row(number)
    rejected = [{"role": "assistant", "content": f"Sure, {number} is fine!"}]
    return {**{k: row[k] for k in ("prompt", "prompt_id", "id")}, "chosen": row["completion"], "rejected": rejected}


def write_dataset(folder: Path, train: list[dict[str, Any]], valid: list[dict[str, Any]]) -> Path:
    sides = ("chosen", "rejected") if train and "chosen" in train[0] else ("completion",)
    kinds = [
        ("prompt", MESSAGES),
        *((side, MESSAGES) for side in sides),
        ("prompt_id", pa.string()),
        ("id", pa.string()),
    ]
    write_parquet(folder / "train.parquet", train, pa.schema(kinds))
    write_parquet(folder / "valid.parquet", valid, pa.schema(kinds))
    return folder


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
