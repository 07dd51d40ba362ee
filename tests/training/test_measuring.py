"""A validation loss that no batch size changes, and trainings that diverge: they stop, and nothing of them is kept."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import metrics_of, preference_row, sft_row, write_dataset

from stillhouse.errors import TrainingError
from stillhouse.training import trainers
from stillhouse.training.callbacks import Progress
from stillhouse.training.checkpoints import Checkpoints
from stillhouse.training.measuring import check_finite
from stillhouse.training.precision import choose_precision
from stillhouse.training.settings import TrainSettings
from stillhouse.training.tokens import load_tokenizer, render, tokenise
from stillhouse.training.train import train_adapter
from stillhouse.training.trainers import make_trainer

BASE = Path("results/models/tiny")
KEY = "c" * 64


def settings(objective: str = "sft", **training: Any) -> TrainSettings:
    recipe = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "max_length": 300, "threads": 1, **training}
    plain = {"objective": objective, "quantization": "none", "lora": {"rank": 4, "alpha": 8}, "training": recipe}
    return TrainSettings.model_validate({**plain, "training": {"precision": "fp32", **recipe}})


@pytest.fixture
def train(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tiny_base)

    def run(name: str, wanted: TrainSettings, valid: int = 5, **more: Any) -> tuple[Path, dict[str, Any]]:
        rows = [sft_row(n) if wanted.objective == "sft" else preference_row(n) for n in range(8 + valid)]
        for number, row in enumerate(rows[8:]):
            for side in {"completion", "chosen", "rejected"} & row.keys():
                row[side] = [{"role": "assistant", "content": row[side][0]["content"] + " Wait." * (5 * number)}]
        dataset = write_dataset(tmp_path / "data", rows[:8], rows[8:])
        return tmp_path / name, train_adapter(BASE, dataset, tmp_path / name, wanted, tmp_path / "checkpoints", **more)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["sft", "dpo", "orpo"])
def test_the_validation_loss_is_that_of_the_rows_and_not_of_their_batches(train: Any, objective: str) -> None:
    """At a learning rate of nothing all trainings end in the same weights, which start from an adapter that is some."""
    first, _ = train("first", settings(objective, learning_rate=0.05))
    losses = [
        train(
            f"by-{size}", settings(objective, batch_size=size, learning_rate=1e-12, max_steps=1, evaluate=1), init=first
        )[1]
        for size in (1, 2, 3, 5)
    ]
    assert [facts["valid_loss"] for facts in losses] == pytest.approx([losses[0]["valid_loss"]] * 4, abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("best", [True, False])
def test_a_training_that_diverges_stops_by_name_and_leaves_nothing(train: Any, tmp_path: Path, best: bool) -> None:
    wild = settings(learning_rate=1e30, schedule="constant", warmup=0.0, best=best, evaluate=1)
    with pytest.raises(TrainingError, match=r"^step \d+: .*(nan|inf|not finite).*training\.learning_rate") as told:
        train("a", wild, key=KEY, checkpoint_minutes=0)
    assert not (tmp_path / "a").exists()
    number = int(str(told.value).split(":")[0].removeprefix("step "))
    with Checkpoints(
        tmp_path / "checkpoints", KEY, "fp32-cuda" if torch.cuda.is_available() else "fp32-cpu"
    ).held() as kept:
        found = kept.newest()
    assert found is None or found[1].step <= number
    assert found is None or all(torch.isfinite(value).all() for value in found[1].tensors["adapter"].values())


class Poison(Progress):
    """Makes one weight no number after the second step, when its loss and its gradient were sound."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == 2:
            with torch.no_grad():
                next(p for p in model.parameters() if p.requires_grad)[0, 0] = math.nan


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "steps"), [(0, 4), (600, 2)])
def test_weights_that_are_no_numbers_are_neither_a_checkpoint_nor_an_adapter(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, steps: int
) -> None:
    monkeypatch.setattr(trainers, "Progress", Poison)
    with pytest.raises(TrainingError, match=r"step 2: the weights of .*lora_A.* are not finite"):
        train("a", settings(max_steps=steps), valid=0, key=KEY, checkpoint_minutes=minutes)
    assert not (tmp_path / "a").exists()


def test_weights_are_looked_at_by_name() -> None:
    check_finite([("a", torch.ones(2))], 7)
    with pytest.raises(TrainingError, match="step 7: the weights of b are not finite"):
        check_finite([("a", torch.ones(2)), ("b", torch.tensor([1.0, math.inf]))], 7)


def test_a_step_that_fp16_leaves_out_has_no_gradient_in_the_log(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overflow is how fp16 finds its scale, and no divergence; at a scale of next to nothing it is one."""
    tokenizer = load_tokenizer(tiny_base / BASE)
    tokens = tokenise([render(sft_row(1), "sft", tokenizer)], "sft", tokenizer)
    wanted = settings()
    trainer = make_trainer(wanted, tiny_base / BASE, tokenizer, (tokens, []), choose_precision("fp32"), tmp_path)
    with pytest.raises(TrainingError, match="step 0: grad_norm is inf"):
        trainer.log({"loss": 1.0, "grad_norm": math.inf})
    monkeypatch.setattr(type(trainer.accelerator), "optimizer_step_was_skipped", True)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    trainer.log({"loss": 1.0, "grad_norm": math.inf})
    assert trainer.state.log_history[-1]["loss"] == 1.0 and "grad_norm" not in trainer.state.log_history[-1]
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-20)
    with pytest.raises(TrainingError, match="overflow fp16 at any scale"):
        trainer.log({"loss": 1.0, "grad_norm": math.inf})


@pytest.mark.slow
def test_metrics_are_json_for_every_reader(train: Any) -> None:
    output, _ = train("a", settings())
    for line in (output / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert all(math.isfinite(row.get("grad_norm", 0.0)) for row in metrics_of(output))
