"""The model that is trained: a frozen base, plain or in 4 bits, with a LoRA adapter on it."""

from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from stillhouse.errors import TrainingError
from stillhouse.llm.weights import load_model
from stillhouse.provenance.files import read_json
from stillhouse.training.settings import TrainSettings

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def load_base(base: Path, settings: TrainSettings, precision: torch.dtype) -> PreTrainedModel:
    """The frozen base in the form that `settings` asks for: plain, or 4-bit nf4 (Dettmers et al. 2023)."""
    if settings.quantization == "none":
        return load_model(base, precision)
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision,
    )
    model = AutoModelForCausalLM.from_pretrained(
        str(base), dtype=precision, quantization_config=quantised, use_safetensors=True, local_files_only=True
    )
    # On processors with avx512_bf16 bitsandbytes 0.50 repacks the weights in the first evaluation, for a kernel that
    # passes no gradient, and never unpacks them: every later step would learn from half of the gradients.
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model


def lora_config(settings: TrainSettings) -> LoraConfig:
    """The adapter's shape for PEFT."""
    lora = settings.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _named(base: Path) -> str:
    """What a base is called by its folder: a model's is its own, an export's merged model is in that of the export."""
    exported = base.parts[-3:-2] == ("exports",)
    return f"export {base.parent.name}" if exported else base.name


def start_from(model: PreTrainedModel, base: Path, init: Path, settings: TrainSettings) -> PeftModel:
    """`model` with a LoRA that has the weights of the adapter in folder `init`.

    Raises `TrainingError` when that adapter has another base, rank, alpha or targets, or other tensors.
    """
    kept = read_json(init / CONFIG)
    adapted = get_peft_model(model, lora_config(settings))
    wanted = adapted.peft_config["default"]
    pairs = {
        "base": (_named(Path(kept["base_model_name_or_path"])), _named(base)),
        "lora.rank": (kept["r"], wanted.r),
        "lora.alpha": (kept["lora_alpha"], wanted.lora_alpha),
        "lora.targets": (sorted(kept["target_modules"]), sorted(wanted.target_modules)),
    }
    told = [f"{name} is {theirs} there and {ours} here" for name, (theirs, ours) in pairs.items() if theirs != ours]
    if told:
        raise TrainingError(f"init: {init} cannot be gone on from: {'; '.join(told)}")
    loaded: Any = set_peft_model_state_dict(adapted, load_file(init / WEIGHTS))
    missing = [name for name in loaded.missing_keys if "lora_" in name]
    if missing or loaded.unexpected_keys:
        odd = (missing or loaded.unexpected_keys)[0]
        raise TrainingError(f"init: {init / WEIGHTS} does not fit the base: {odd} (missing or too many)")
    return adapted
