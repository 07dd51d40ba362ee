"""A tiny random Llama that trains in a second."""

from pathlib import Path

import pytest
import torch
from tiny_training import tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from stillhouse.llm.weights import save_model, save_tokenizer


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with results/models/tiny in it; returns the study's folder."""
    study = tmp_path_factory.mktemp("study")
    folder = study / "results" / "models" / "tiny"
    folder.mkdir(parents=True)
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    save_model(LlamaForCausalLM(config), folder)
    save_tokenizer(tokenizer, folder, 512)
    return study
