"""TRL's trainers as Stillhouse runs them: tokens of our own making, our order of samples, our checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from stillhouse.errors import TrainingError
from stillhouse.training.adapted import load_base, lora_config, start_from
from stillhouse.training.callbacks import Patience, Progress
from stillhouse.training.completion import CompletionTrainer, lay_end_to_end
from stillhouse.training.measuring import Parts
from stillhouse.training.precision import Precision
from stillhouse.training.resuming import Resuming, StepWatch
from stillhouse.training.settings import TrainSettings
from stillhouse.training.tokens import Tokens, trainer_row


class Sft(Resuming, CompletionTrainer):
    """Completion-only SFT."""


class Dpo(Resuming, DPOTrainer):
    """DPO (Rafailov et al. 2023) on rows that are tokens already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


class Orpo(Resuming, ORPOTrainer):
    """ORPO (Hong et al. 2024) on rows that are tokens already."""

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        """The tokens that the row brings."""
        return {}

    def loss_parts(self, inputs: Mapping[str, Any], loss: torch.Tensor) -> Parts:
        """ORPO's loss is a mean over the tokens of chosen rows, prompts included, and one over pairs."""
        likelihood = self._stored_metrics["eval"]["eval_nll_loss"][-1]
        mask = inputs["chosen_attention_mask"]
        return {"tokens": (likelihood, int(mask[:, 1:].sum())), "pairs": (loss.item() - likelihood, len(mask))}


TRAINERS = {"sft": (Sft, SFTConfig), "dpo": (Dpo, DPOConfig), "orpo": (Orpo, ORPOConfig)}
# what the trainers look at before they know that a row is tokens
SHOWN = {
    "sft": {},
    "dpo": {"prompt": "", "chosen": "", "rejected": ""},
    "orpo": {"prompt": "", "chosen": "", "rejected": ""},
}

Rows = list[list[Tokens]]


def make_trainer(
    settings: TrainSettings,
    base: Path,
    tokenizer: Any,
    splits: tuple[Rows, Rows],
    precision: Precision,
    folder: Path,
    init: Path | None = None,
) -> Resuming:
    """The objective's trainer with its model; `splits` are the tokens of train and valid, `folder` it may write to."""
    t, (train, valid) = settings.training, splits
    trainer_class, config_class = TRAINERS[settings.objective]
    model: Any = load_base(base, settings, precision.dtype)
    exact: dict[str, torch.Tensor] = {}
    if init is not None:
        model = start_from(model, base, init, settings)
        exact = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    data = [
        Dataset.from_list([SHOWN[settings.objective] | trainer_row(row, settings.objective) for row in rows])
        for rows in splits
    ]
    trainer = trainer_class(
        model=model,
        args=config_class(**_arguments(settings, precision, folder, bool(valid))),
        train_dataset=data[0],
        eval_dataset=data[1] if valid else None,
        processing_class=tokenizer,
        peft_config=None if init is not None else lora_config(settings),
        callbacks=[Progress(settings.objective)],
    )
    _in_full(trainer.model, exact)
    trainer.remove_callback(PrinterCallback)  # the log has every line, the terminal a bar
    if t.packing and settings.objective == "sft":
        trainer.data_collator = lay_end_to_end
    if t.early_stopping is not None:
        trainer.add_callback(Patience(t.early_stopping.patience, t.early_stopping.min_delta))
    trainer.add_callback(StepWatch(trainer))
    trainer.lengths = [max(len(side.ids) for side in row) for row in train]
    trainer.grouped = t.group_by_length
    trainer.keep_best = bool(valid) and (t.early_stopping is not None if t.best is None else t.best)
    return trainer


def _in_full(model: torch.nn.Module, exact: dict[str, torch.Tensor]) -> None:
    """Train in fp32 what is trained, and keep the reference in it; `exact` is what the adapter started from.

    TRL casts adapters of quantised bases to bf16, whose steps of one 256th swallow the updates of small learning rates.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or ".ref." in name:
            parameter.data = exact.get(name, parameter.data).to(parameter.device, torch.float32)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("lora.targets leaves nothing to train: no weight of the model has an adapter")


def _arguments(settings: TrainSettings, precision: Precision, folder: Path, measured: bool) -> dict[str, Any]:
    """Trainer arguments; nothing is saved by the trainers themselves."""
    t = settings.training
    by_steps = isinstance(t.evaluate, int)
    common = {
        "output_dir": str(folder),
        "per_device_train_batch_size": t.batch_size,
        "per_device_eval_batch_size": t.batch_size,
        "gradient_accumulation_steps": t.accumulate,
        "num_train_epochs": t.epochs,
        "max_steps": t.max_steps or -1,
        "learning_rate": t.learning_rate,
        "lr_scheduler_type": t.schedule,
        "warmup_steps": min(t.warmup, 1 - 1e-9),  # below 1 it is a share of the steps
        "weight_decay": t.weight_decay,
        "optim": t.optimizer,
        "max_length": t.max_length,
        "seed": t.seed,
        "data_seed": t.seed,
        "bf16": precision.name == "bf16",
        "fp16": precision.name == "fp16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": t.gradient_checkpointing,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would log a training that diverged as one without loss
        "eval_strategy": ("steps" if by_steps else "epoch") if measured else "no",
        "eval_steps": t.evaluate if by_steps else None,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
    }
    if settings.objective == "sft":
        return {**common, "completion_only_loss": True, "packing": False}
    return {**common, "beta": t.beta}
