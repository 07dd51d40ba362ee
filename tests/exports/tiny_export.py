"""A tiny random base and adapters on it, as training leaves them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from stillhouse.llm.weights import load_model, save_model, save_tokenizer, write_adapter_digests

ADAPTER_FILES = ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"]


def make_base(folder: Path, seed: int, tokenizer: Any, **changes: Any) -> Path:
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(**{"vocab_size": 280, **shape, "num_key_value_heads": 1, **changes})
    save_model(LlamaForCausalLM(config), folder)
    save_tokenizer(tokenizer, folder, 64)
    return folder


def make_adapter(
    base: Path, folder: Path, tokenizer: Any, targets: list[str], fill: Callable[[torch.Tensor], Any] = torch.nn.init.ones_
) -> Path:  # fmt: skip
    """An adapter of rank 2 on `targets`, whose second matrices are made by `fill`."""
    model = get_peft_model(load_model(base, torch.float32), LoraConfig(r=2, target_modules=targets))
    for name, tensor in model.named_parameters():
        if "lora_B" in name or "lora_embedding_A" in name:
            fill(tensor)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    save_tokenizer(tokenizer, folder, 64)
    write_adapter_digests(folder, ADAPTER_FILES, base, folder / "digests.json")
    return folder
