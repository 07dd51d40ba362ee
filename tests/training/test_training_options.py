"""What may be chosen for a training: packing, order, precision, activations, where to start and when to stop."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import TEMPLATE, metrics_of, preference_row, sft_row, write_dataset

from stillhouse.errors import TrainingError
from stillhouse.provenance.digests import digest_file
from stillhouse.training import precision as precision_module
from stillhouse.training.callbacks import measurements_without_gain
from stillhouse.training.completion import lay_end_to_end
from stillhouse.training.precision import choose_precision
from stillhouse.training.sampling import EpochSampler
from stillhouse.training.settings import TrainSettings
from stillhouse.training.tokens import IGNORED
from stillhouse.training.train import train_adapter

BASE = Path("results/models/tiny")
WITH_CALLS = "{{ tools | tojson }}" + TEMPLATE.replace(
    "m['content']", "(m.tool_calls | tojson if m.tool_calls else m.content)"
)


def settings(objective: str = "sft", lora: dict[str, Any] | None = None, **training: Any) -> TrainSettings:
    recipe = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "max_length": 300, "threads": 1, **training}
    shape = {"rank": 4, "alpha": 8, **(lora or {})}
    plain = {"objective": objective, "quantization": "none", "lora": shape, "training": recipe}
    return TrainSettings.model_validate(plain)


@pytest.fixture
def train(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tiny_base)

    def run(name: str, wanted: TrainSettings, **more: Any) -> tuple[Path, dict[str, Any]]:
        row = sft_row if wanted.objective == "sft" else preference_row
        rows = [row(number) for number in range(18)]
        for number, longer in enumerate(rows):
            longer["prompt"][0]["content"] += " Please." * (number % 7)
        dataset = write_dataset(tmp_path / f"{name}-data", rows[:14], rows[14:])
        return tmp_path / name, train_adapter(BASE, dataset, tmp_path / name, wanted, tmp_path / "checkpoints", **more)

    return run


def losses(folder: Path) -> list[float]:
    return [row.get("loss", row.get("eval_loss")) for row in metrics_of(folder)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"packing": True}, {"gradient_checkpointing": True}], ids=str)
def test_packing_and_checkpointed_activations_change_no_loss(train: Any, change: dict[str, Any]) -> None:
    (plain, _), (other, _) = (
        train(name, settings(precision="fp32", accumulate=2, **more)) for name, more in (("a", {}), ("b", change))
    )
    assert losses(other) == pytest.approx(losses(plain), rel=1e-5)
    ours, theirs = weights(plain), weights(other)
    # AdamW's first steps are of the sign of the gradient: rounding may turn those of weights that hardly have one
    apart = torch.cat([(ours[name] - theirs[name]).abs().flatten() for name in ours])
    assert apart.max() < 1e-3 and (apart > 1e-5).float().mean() < 0.01


def test_rows_end_to_end_know_nothing_of_each_other() -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8, 9], "labels": [8, 9]}]
    batch = lay_end_to_end(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7, IGNORED, 9]]


def test_a_model_sees_packed_rows_apart(tiny_base: Path) -> None:
    from stillhouse.llm.weights import load_model

    model = load_model(tiny_base / BASE, torch.float32)
    rows = [[11, 12, 13, 14], [21, 22, 23], [31, 32, 33, 34, 35]]
    batch = lay_end_to_end([{"input_ids": ids, "labels": ids} for ids in rows])
    with torch.inference_mode():
        together = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits[0]
        apart = torch.cat([model(torch.tensor([ids])).logits[0] for ids in rows])
        leaking = model(input_ids=batch["input_ids"]).logits[0]
    assert torch.allclose(together, apart, atol=1e-5) and not torch.allclose(leaking, apart, atol=1e-2)


@pytest.mark.parametrize(("rows", "batch"), [(1, 8), (8, 8), (21, 4), (200, 8)])
def test_every_row_comes_once_an_epoch_in_an_order_of_seed_and_epoch(rows: int, batch: int) -> None:
    lengths = [(number * 37) % 101 for number in range(rows)]
    for grouped in (False, True):
        sampler = EpochSampler(lengths, batch, 3, grouped)
        first = list(sampler)
        assert sorted(first) == list(range(rows)) and first == list(EpochSampler(lengths, batch, 3, grouped))
        sampler.set_epoch(1)
        if rows > 8:
            assert list(sampler) != first != list(EpochSampler(lengths, batch, 4, grouped))


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [(number * 37) % 101 for number in range(400)]

    def padding(grouped: bool) -> int:
        order = list(EpochSampler(lengths, 8, 3, grouped))
        batches = [[lengths[row] for row in order[start : start + 8]] for start in range(0, 400, 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(True) < padding(False) / 4


@pytest.mark.parametrize(
    ("asked", "gpu", "bf16", "chosen", "words"),
    [
        ("auto", False, True, "bf16", "the processor computes in bf16"),
        ("auto", False, False, "fp32", "the processor does not compute in bf16"),
        ("auto", True, True, "bf16", "the GPU computes in bf16"),
        ("auto", True, False, "fp16", "the GPU does not compute in bf16"),
        ("bf16", False, False, "bf16", "asked for, though the processor does not compute in it"),
        ("fp32", True, True, "fp32", "asked for"),
        ("fp16", True, True, "fp16", "asked for"),
    ],
)
def test_precision_is_chosen_by_what_the_hardware_does(
    asked: str, gpu: bool, bf16: bool, chosen: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(precision_module, "native_dtype", lambda: torch.bfloat16 if bf16 else torch.float32)
    found = choose_precision(asked)
    assert (found.name, found.reason) == (chosen, words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fp16_is_refused_on_a_processor() -> None:
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        choose_precision("fp16")


@pytest.mark.parametrize(
    ("values", "min_delta", "count"),
    [([], 0.0, 0), ([3.0, 2.0, 1.0], 0.0, 0), ([1.0, 1.0, 1.0], 0.0, 2), ([3.0, 2.0, 2.5, 1.9], 0.2, 2)],
)
def test_measurements_without_gain_are_counted(values: list[float], min_delta: float, count: int) -> None:
    assert measurements_without_gain(values, min_delta) == count


@pytest.mark.slow
def test_a_training_that_learns_no_more_stops_and_keeps_its_best_weights(train: Any) -> None:
    wanted = {"epochs": 20, "learning_rate": 0.5, "schedule": "constant", "warmup": 0.0}
    output, facts = train("a", settings(early_stopping={"patience": 2}, evaluate=2, **wanted))
    measured = {row["step"]: row["eval_loss"] for row in metrics_of(output) if "eval_loss" in row}
    assert facts["steps"] < 80 and facts["best_step"] == min(measured, key=measured.__getitem__)
    assert list(measured)[-1] == facts["best_step"] + 4
    exact, _ = train("b", settings(max_steps=facts["best_step"], evaluate=2, best=False, **wanted))
    assert digest_file(output / "adapter_model.safetensors") == digest_file(exact / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "stopping", "kept"), [(None, False, False), (None, True, True), (False, True, False), (True, False, True)]
)
def test_early_stopping_keeps_the_best_weights_unless_told_otherwise(
    train: Any, asked: bool | None, stopping: bool, kept: bool
) -> None:
    early = {"early_stopping": {"patience": 9}} if stopping else {}
    _, facts = train("a", settings(best=asked, max_steps=2, evaluate=1, **early))
    assert (facts["best_step"] is not None) == kept


def test_a_seed_is_one_that_every_generator_takes() -> None:
    assert settings(seed=2**32 - 1).training.seed == 2**32 - 1
    with pytest.raises(ValueError, match="less than or equal to 4294967295"):
        settings(seed=2**32)


@pytest.mark.parametrize("emulated", [True, False])
def test_bf16_that_a_gpu_only_emulates_does_not_count(emulated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )
    assert choose_precision("auto").name == ("fp16" if emulated else "bf16")


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["sft", "dpo", "orpo"])
def test_a_training_goes_on_from_another_adapter(train: Any, objective: str) -> None:
    first, facts = train("first", settings(epochs=4))
    second, _ = train("second", settings(objective, learning_rate=1e-9, epochs=1), init=first)
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    if objective == "sft":
        assert losses(second)[0] < losses(first)[0]
        assert losses(second)[-1] == pytest.approx(facts["valid_loss"], abs=0.01)
    if objective == "dpo":  # the reference is the adapter itself, so there is no preference yet
        assert losses(second)[0] == pytest.approx(0.6931, abs=1e-3)


@pytest.mark.slow
def test_an_adapter_of_another_shape_is_not_gone_on_from(train: Any, tmp_path: Path) -> None:
    first, _ = train("first", settings(max_steps=1))
    for lora, words in [
        ({"rank": 8}, "lora.rank is 4 there and 8 here"),
        ({"alpha": 16}, "lora.alpha is 8 there and 16 here"),
        ({"targets": ["q_proj"]}, r"lora.targets is \[.*\] there and \['q_proj'\] here"),
    ]:
        with pytest.raises(TrainingError, match=words):
            train("second", settings(lora=lora), init=first)
    config = json.loads((first / "adapter_config.json").read_text())
    for base, name in (("results/models/other", "other"), ("results/exports/other/merged", "export other")):
        told = {**config, "base_model_name_or_path": base}
        (first / "adapter_config.json").write_text(json.dumps(told))
        with pytest.raises(TrainingError, match=f"base is {name} there and tiny here"):
            train("second", settings(), init=first)
    assert not (tmp_path / "second").exists()


@pytest.mark.slow
def test_facts_tell_speed_memory_and_precision(train: Any) -> None:
    _, facts = train("a", settings(epochs=2))
    assert facts["tokens_per_second"] == pytest.approx(2 * facts["tokens"] / facts["seconds"], rel=0.2)
    assert facts["peak_rss_mib"] > 100 and facts["precision_reason"].endswith("bf16")


@pytest.mark.slow
def test_messages_with_more_than_role_and_content_train(tiny_base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tiny_base)
    base = tmp_path / "base"
    shutil.copytree(BASE, base)
    (base / "chat_template.jinja").write_text(WITH_CALLS)
    told_as, rich = pa.list_(pa.string()), pa.list_(pa.json_())
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    row = sft_row(1)
    turns = [*row["prompt"], call, {"role": "tool", "name": "f", "content": "4 degrees"}]
    sides = {"prompt": turns, "completion": row["completion"]}
    columns = {
        name: pa.array([[json.dumps(turn) for turn in side]], told_as).cast(rich) for name, side in sides.items()
    }
    table = pa.table({**columns, "tools": ['[{"name": "f"}]'], "id": ["a"]})
    (tmp_path / "data").mkdir()
    for split in ("train", "valid"):
        pq.write_table(table, tmp_path / f"data/{split}.parquet")
    facts = train_adapter(base, tmp_path / "data", tmp_path / "out", settings(max_steps=1), tmp_path / "checkpoints")
    assert facts["steps"] == 1 and facts["rows"] == 1
