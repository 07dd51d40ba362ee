"""The README of an adapter: what the hub reads, what was trained on what, and digests that are those of the files."""

from pathlib import Path

import pytest
import yaml
from tiny_training import sft_row, write_dataset

from stillhouse.provenance.digests import digest_file
from stillhouse.training.rows import learned_digest, read_rows
from stillhouse.training.settings import TrainSettings
from stillhouse.training.train import FILES, train_adapter

BASE = Path("results/models/tiny")


@pytest.mark.slow
def test_an_adapter_says_what_it_is(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_base)
    data = write_dataset(tmp_path / "data", [sft_row(n) for n in range(4)], [sft_row(9)])
    recipe = {
        "objective": "sft",
        "quantization": "nf4",
        "lora": {"rank": 4},
        "training": {"max_steps": 1, "threads": 1},
    }
    wanted = TrainSettings.model_validate(recipe)
    facts = train_adapter(BASE, data, tmp_path / "a", wanted, tmp_path / "checkpoints")
    text = (tmp_path / "a" / "README.md").read_text()
    front, _, body = text.removeprefix("---\n").partition("---\n")
    told = yaml.safe_load(front)
    assert (
        told["base_model"] == "tiny"
        and told["library_name"] == "peft"
        and {"lora", "qlora", "sft"} <= set(told["tags"])
    )
    for split, rows, tokens in (("train", 4, facts["tokens"]), ("valid", 1, None)):
        line = next(line for line in body.splitlines() if line.startswith(f"| `{split}` |"))
        assert line.split(" | ")[1] == str(rows) and (tokens is None or line.split(" | ")[2] == str(tokens))
        assert learned_digest(read_rows(data / f"{split}.parquet", "sft"), "sft") in line
    for file in FILES:
        assert file == "README.md" or f"| `{file}` | {digest_file(tmp_path / 'a' / file)} |" in body
    assert "| `lora.rank` | 4 |" in body and f"| train_loss | {facts['train_loss']} |" in body
    assert str(tmp_path) not in text and "checkpoint_minutes" not in text
    second = tmp_path / "b"
    train_adapter(BASE, data, second, wanted, tmp_path / "checkpoints", init=tmp_path / "a")
    assert digest_file(tmp_path / "a" / "adapter_model.safetensors") in (second / "README.md").read_text()
