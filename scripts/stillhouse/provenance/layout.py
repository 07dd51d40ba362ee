"""Names of the files that make up a model and an adapter directory, which rules declare, and of some that they do not."""

from pathlib import Path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

MODEL_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
"""Beside `model.safetensors`."""

ADAPTER_FILES = ("README.md", "adapter_config.json", *TOKENIZER_FILES)
"""Beside `adapter_model.safetensors`."""


def refused(failures: Path) -> Path:
    """Where a merge that stops the run leaves its failures, since Snakemake deletes a failed job's outputs."""
    return failures.with_name(f"refused-{failures.name}")
