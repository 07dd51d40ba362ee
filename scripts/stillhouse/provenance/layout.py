"""Names of the files that make up a model and an adapter directory; rules declare every one of them."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

MODEL_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
"""Beside `model.safetensors`."""

ADAPTER_FILES = ("adapter_config.json", *TOKENIZER_FILES)
"""Beside `adapter_model.safetensors`."""
