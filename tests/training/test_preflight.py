"""The preflight: what it reports, and that it stops with rows by name before any weights are read."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_training import preference_row, sft_row, tiny_tokenizer, write_dataset
from transformers import AutoConfig, AutoModelForCausalLM

from stillhouse.training.costs import Lengths, memory, seconds, steps_of, training_flops
from stillhouse.training.preflight import preflight
from stillhouse.training.settings import TrainSettings
from stillhouse.training.shape import shape_of
from stillhouse.training.tokens import render, tokenise

WORKFLOW = Path(__file__).parents[2]


def settings(objective: str = "sft", **training: Any) -> TrainSettings:
    plain = {"objective": objective, "quantization": "none", "lora": {"rank": 4, "alpha": 8}, "training": training}
    return TrainSettings.model_validate(plain)


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny base without its weights."""
    folder = tmp_path / "tokenizer-only"
    shutil.copytree(tiny_base / "results/models/tiny", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def splits(folder: Path, train: list[dict[str, Any]], valid: list[dict[str, Any]]) -> dict[str, Path]:
    dataset = write_dataset(folder, train, valid)
    return {name: dataset / f"{name}.parquet" for name in ("train", "valid")}


@pytest.mark.parametrize("objective", ["sft", "dpo", "orpo"])
def test_the_report_counts_tokens_and_steps(base: Path, tmp_path: Path, objective: str) -> None:
    rows = [sft_row(n) if objective == "sft" else preference_row(n) for n in range(10)]
    files = splits(tmp_path / "data", rows[:7], rows[7:])
    report = preflight(base, files, settings(objective, batch_size=2, accumulate=2, epochs=3))
    tokenizer = tiny_tokenizer()
    tokens = tokenise([render(row, objective, tokenizer) for row in rows[:7]], objective, tokenizer)
    assert report["failures"] == [] and report["warnings"] == [] and report["steps"] == 3 * 2
    assert report["tokens"]["train"]["rows"] == 7 and report["tokens"]["valid"]["rows"] == 3
    assert report["tokens"]["train"]["tokens"] == sum(len(side.ids) for sides in tokens for side in sides)
    assert report["tokens"]["train"]["supervised"] == sum(len(side.answer) for sides in tokens for side in sides)
    assert report == preflight(base, files, settings(objective, batch_size=2, accumulate=2, epochs=3))


@pytest.mark.parametrize(
    ("rows", "batch", "accumulate", "epochs", "most", "steps"),
    [
        (72, 8, 1, 3, None, 27),
        (72, 8, 4, 3, None, 9),
        (9, 2, 2, 0.5, None, 2),
        (5, 8, 1, 2, None, 2),
        (5, 8, 1, 2, 7, 7),
    ],
)
def test_steps_are_counted_as_the_trainer_counts(
    rows: int, batch: int, accumulate: int, epochs: float, most: int | None, steps: int
) -> None:
    wanted = settings(batch_size=batch, accumulate=accumulate, epochs=epochs, max_steps=most)
    assert steps_of(rows, wanted) == steps


def test_failures_name_split_row_and_prompt(base: Path, tmp_path: Path) -> None:
    files = splits(tmp_path / "data", [sft_row(0)], [sft_row(1), sft_row(2, "")])
    [failure] = preflight(base, files, settings())["failures"]
    assert (failure["name"], failure["split"], failure["row"], failure["prompt"]) == (
        "empty_answer",
        "valid",
        1,
        "plan-2",
    )


def test_early_stopping_needs_validation_rows(base: Path, tmp_path: Path) -> None:
    files = splits(tmp_path / "data", [sft_row(0)], [])
    counts = preflight(base, files, settings(early_stopping={"patience": 1}))["failure_counts"]
    assert counts == {"no_validation_rows": 1}
    assert preflight(base, files, settings("sft", best=True))["failure_counts"] == {"no_validation_rows": 1}


def test_packing_is_for_sft(base: Path, tmp_path: Path) -> None:
    files = splits(tmp_path / "data", [preference_row(0)], [])
    assert preflight(base, files, settings("dpo", packing=True))["failure_counts"] == {"packing_not_sft": 1}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("target", "name", "words"),
    [
        ("q_prj", "unknown_target", "q_prj names no linear layer of this base; it has down_proj, gate_proj"),
        ("layers.9.q_proj", "unknown_target", "names no linear layer"),
        ("self_attn", "unfit_target", "names no linear layer"),
        ("lm_head", "unfit_target", "lm_head is the embedding or the output layer"),
        ("embed_tokens", "unfit_target", "embed_tokens is the embedding or the output layer"),
    ],
)
def test_targets_are_linear_layers_of_the_blocks(
    base: Path, tmp_path: Path, target: str, name: str, words: str, tied: bool
) -> None:
    config = json.loads((base / "config.json").read_text()) | {"tie_word_embeddings": tied}
    (base / "config.json").write_text(json.dumps(config))
    files = splits(tmp_path / "data", [sft_row(0)], [])
    wanted = settings()
    asked = wanted.model_copy(update={"lora": wanted.lora.model_copy(update={"targets": ["q_proj", target]})})
    [failure] = preflight(base, files, asked)["failures"]
    assert failure["name"] == name and words in failure["text"]
    assert ("one matrix" in failure["text"]) == (tied and "embedding" in words)


def test_targets_by_name_or_by_path_are_known(base: Path, tmp_path: Path) -> None:
    files = splits(tmp_path / "data", [sft_row(0)], [])
    wanted = settings()
    for targets in (["q_proj"], ["self_attn.v_proj", "model.layers.1.mlp.up_proj"]):
        asked = wanted.model_copy(update={"lora": wanted.lora.model_copy(update={"targets": targets})})
        report = preflight(base, files, asked)
        assert report["failures"] == [] and report["parameters"]["trained"] > 0


@pytest.mark.parametrize("targets", ["q_proj", ".*proj", [], [3]])
def test_targets_are_all_linear_layers_or_a_list(targets: Any) -> None:
    with pytest.raises(ValueError, match="targets"):
        TrainSettings.model_validate(
            {"objective": "sft", "quantization": "none", "lora": {"targets": targets}, "training": {}}
        )


def test_rows_longer_than_the_base_can_count_are_refused(base: Path, tmp_path: Path) -> None:
    files = splits(tmp_path / "data", [sft_row(0), sft_row(1, "word " * 200)], [])
    assert preflight(base, files, settings(max_length=4000))["failure_counts"] == {"beyond_positions": 1}
    config = json.loads((base / "config.json").read_text())
    stretched = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "rope_theta": 10000.0}
    (base / "config.json").write_text(json.dumps(config | {"rope_parameters": stretched}))
    assert preflight(base, files, settings(max_length=4000))["failure_counts"] == {}


def test_an_end_that_only_the_generation_config_names_counts(base: Path, tmp_path: Path) -> None:
    """As Gemma does it: a turn ends with <end_of_turn>, a text with <eos>."""
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|im_start|>", "bos_token": None}))
    model = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(model | {"eos_token_id": 1, "bos_token_id": None}))
    generation = base / "generation_config.json"
    files = splits(tmp_path / "data", [sft_row(0)], [])
    for ends, counts in ((1, {"missing_eos": 1}), ([1, 2], {})):
        generation.write_text(json.dumps({"eos_token_id": ends}))
        assert preflight(base, files, settings())["failure_counts"] == counts


def test_a_model_with_a_smaller_vocabulary_is_refused(base: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text()) | {"vocab_size": 100}
    (base / "config.json").write_text(json.dumps(config))
    report = preflight(base, splits(tmp_path / "data", [sft_row(0)], []), settings())
    assert report["failure_counts"] == {"vocabulary_mismatch": 1}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama", "num_key_value_heads": 2, "tie_word_embeddings": True},
        {"model_type": "llama", "num_key_value_heads": 4, "tie_word_embeddings": False, "head_dim": 32},
        {"model_type": "mistral", "num_key_value_heads": 2, "tie_word_embeddings": False},
    ],
)
def test_parameters_are_those_of_the_real_model(config: dict[str, Any]) -> None:
    from peft import LoraConfig, get_peft_model

    widths = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}
    plain = {"head_dim": 16, "vocab_size": 500, **widths, **config}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**plain))
    shape = shape_of(plain)
    assert shape.linear_parameters + shape.other_parameters == model.num_parameters()
    for targets in ("all-linear", ["q_proj", "down_proj"]):
        adapted = get_peft_model(
            AutoModelForCausalLM.from_config(AutoConfig.for_model(**plain)), LoraConfig(r=8, target_modules=targets)
        )
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        assert shape.lora_parameters(8, targets) == trained


def test_a_model_of_experts_is_not_estimated() -> None:
    plain = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}
    assert shape_of({**plain, "vocab_size": 500, "num_local_experts": 8}) is None
    assert shape_of({"model_type": "t5"}) is None


def test_operations_grow_with_tokens_passes_and_checkpointing() -> None:
    config = {
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 500,
    }
    shape, tokenizer = shape_of(config), tiny_tokenizer()
    rows = [sft_row(n) for n in range(8)]
    tokens = tokenise([render(row, "sft", tokenizer) for row in rows], "sft", tokenizer)
    few, many = Lengths.of(tokens[:4], 4), Lengths.of(tokens, 4)

    def flops(lengths: Lengths, objective: str = "sft", **training: Any) -> int:
        wanted = settings(objective, batch_size=4, **training)
        return training_flops(shape, lengths, wanted, steps_of(lengths.rows, wanted))

    plain = 6 * many.tokens * 2 * 2 * (shape.linear_parameters + 500 * 64)
    assert flops(many, epochs=6) / plain == pytest.approx(1.0, abs=0.25)  # the tiny adapter is a sixth of it
    assert math.isclose(flops(many, epochs=6), 2 * flops(many, epochs=3), rel_tol=0.01)
    assert flops(few, epochs=3) < flops(many, epochs=3) < flops(many, epochs=3, gradient_checkpointing=True)
    assert flops(many, "dpo") > 1.3 * flops(many)


def test_time_follows_operations_and_no_step_of_a_gpu_is_for_nothing() -> None:
    told = seconds(30 * 10**12, steps=50)
    assert told == {"2 processor cores": 300, "a GPU of 24 GB": 5, "a GPU of 80 GB": 5}
    assert seconds(7 * 10**18, steps=50)["a GPU of 80 GB"] == 20_000


def test_an_adapter_takes_the_same_memory_on_a_quantised_base() -> None:
    """It is fp32 on both, with its gradients and what AdamW keeps; the base is a quarter."""
    config = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}
    shape, tokenizer = shape_of({**config, "vocab_size": 500}), tiny_tokenizer()
    lengths = Lengths.of(tokenise([render(sft_row(1), "sft", tokenizer)], "sft", tokenizer), 1)
    plain = settings()
    quantised = plain.model_copy(update={"quantization": "nf4"})
    ours, theirs = (memory(shape, lengths, wanted, "bf16", False) for wanted in (quantised, plain))
    for part, times in (("adapter_mib", 1), ("gradients_mib", 1), ("optimizer_mib", 2)):
        expected = times * 4 * shape.lora_parameters(4, "all-linear") / 2**20
        assert ours[part] == theirs[part] == pytest.approx(expected, abs=0.05)
    assert ours["weights_mib"] < theirs["weights_mib"]


def run_script(folder: Path, files: dict[str, Path], base: Path) -> subprocess.CompletedProcess[str]:
    """The script's `main` in a process of its own."""
    code = f"""
import sys; sys.path.insert(0, {str(WORKFLOW / "scripts")!r})
from pathlib import Path
from preflight_adapter import main
from stillhouse.errors import StillhouseError
from stillhouse.provenance.job import Files, Params
recipe = {{"base": "tiny", "train": {settings().model_dump()!r}}}
named = {{"shape": {str(base / "config.json")!r}, "train": {str(files["train"])!r}, "valid": {str(files["valid"])!r}}}
inputs = Files({{name: Path(file) for name, file in named.items()}})
outputs = Files({{"preflight": Path("preflight.json")}})
try:
    print(main(inputs, outputs, Params("preflight_adapter", {{}}, recipe, {{}}, "k", 1, {{}}, {{}})))
except StillhouseError as error:
    sys.exit(str(error))
"""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_the_script_writes_a_report_or_stops_with_the_rows(base: Path, tmp_path: Path) -> None:
    good = splits(tmp_path / "good", [sft_row(0)], [])
    bad = splits(tmp_path / "bad", [sft_row(0), sft_row(1, "")], [])
    done = run_script(tmp_path, bad, base)
    assert done.returncode == 1 and "train row 1 (prompt plan-1): empty_answer" in done.stderr
    assert not (tmp_path / "preflight.json").exists()
    assert json.loads((tmp_path / "refused-preflight.json").read_text())["failure_counts"] == {"empty_answer": 1}
    done = run_script(tmp_path, good, base)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "preflight.json").read_text())["failures"] == []
    assert not (tmp_path / "refused-preflight.json").exists()
