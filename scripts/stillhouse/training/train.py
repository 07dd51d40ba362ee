"""Trains LoRA and QLoRA adapters by TRL: completion-only SFT, DPO (Rafailov et al. 2023), ORPO (Hong et al. 2024)."""

import json
import logging
import platform
import resource
import time
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel, TrainerCallback, set_seed
from trl import DPOConfig, DPOTrainer, SFTConfig
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from stillhouse.errors import TrainingError
from stillhouse.llm.weights import (
    load_model,
    load_tokenizer,
    native_dtype,
    quiet_transformers,
    save_tokenizer,
    staged_folder,
    write_digests,
)
from stillhouse.provenance.files import read_json, read_parquet_rows, write_json, write_text
from stillhouse.provenance.layout import ADAPTER_FILES
from stillhouse.provenance.progress import Meter
from stillhouse.training.checks import check_rows, check_supervision, supervised_rows
from stillhouse.training.completion import CompletionTrainer
from stillhouse.training.plot import plot_losses
from stillhouse.training.settings import TrainSettings

logger = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
FILES = (WEIGHTS, *ADAPTER_FILES, "metrics.jsonl", "loss.svg")
METRICS = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm")
TRAINERS = {"sft": (CompletionTrainer, SFTConfig), "dpo": (DPOTrainer, DPOConfig), "orpo": (ORPOTrainer, ORPOConfig)}


def train_adapter(
    base: Path,
    dataset: Path,
    output: Path,
    settings: TrainSettings,
    checkpoints: Path,
    max_minutes: float | None = None,
) -> dict[str, Any]:
    """Train an adapter on `dataset`/train.parquet, measure it on valid.parquet, and write `FILES` and digests.json.

    `base` is a folder of full-precision weights; `checkpoints` is where the trainer may write; a training that would
    take longer than `max_minutes`, told from its first steps, is stopped by `TrainingError`. The same
    inputs give the same bytes on one machine type. Facts: rows, tokens, steps, seconds, tokens a second, peak
    memory, precision, last losses. Raises `TrainingError` before any step when rows, base and recipe do not fit.
    """
    started = time.monotonic()
    _prepare(settings)
    tokenizer = load_tokenizer(base)
    sides = ("completion",) if settings.objective == "sft" else ("chosen", "rejected")
    train, valid = (_rows(dataset / f"{split}.parquet", sides) for split in ("train", "valid"))
    longest = settings.training.max_length
    check_rows(train, sides, tokenizer, longest)
    if valid:
        check_rows(valid, sides, tokenizer, longest)
    precision = choose_precision(settings.training.precision)
    with quiet_transformers():
        trainer = _trainer(settings, base, tokenizer, (train, valid), sides, precision, checkpoints)
        counts = {"rows": len(train), "valid_rows": len(valid)}
        learned = supervised_rows(trainer.train_dataset, settings.objective)
        counts |= check_supervision(learned, train, sides, tokenizer)
        if max_minutes is not None:
            trainer.add_callback(_Ceiling(max_minutes))
        begun = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - begun
    metrics = [{k: row[k] for k in METRICS if k in row} for row in trainer.state.log_history if _kept(row)]
    _write(trainer.model, tokenizer, base, output, metrics)
    seen = counts.get("tokens", 0) * trainer.state.num_train_epochs if settings.training.max_steps is None else None
    return {
        **counts,
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),
        "seconds_with_loading": round(time.monotonic() - started, 1),
        "tokens_per_second": round(seen / seconds, 1) if seen else None,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "processor": _processor(),
        "precision": str(precision).removeprefix("torch."),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "train_loss": next((row["loss"] for row in reversed(metrics) if "loss" in row), None),
        "valid_loss": next((row["eval_loss"] for row in reversed(metrics) if "eval_loss" in row), None),
    }


def choose_precision(asked: str) -> torch.dtype:
    """The dtype of the frozen base; `auto` is bf16 where the hardware computes in it."""
    return {"bf16": torch.bfloat16, "fp32": torch.float32}.get(asked) or native_dtype()


def _processor() -> str:
    """The model name of the processor, for the record: bytes are reproducible on one machine type."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _prepare(settings: TrainSettings) -> None:
    disable_progress_bars()
    torch.set_num_threads(settings.training.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a safety net that costs a fifth of the time
    set_seed(settings.training.seed)


def _rows(file: Path, sides: tuple[str, ...]) -> list[dict[str, Any]]:
    return read_parquet_rows(file, ["prompt", *sides, "prompt_id", "id"])


def _trainer(
    settings: TrainSettings,
    base: Path,
    tokenizer: Any,
    splits: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    sides: tuple[str, ...],
    precision: torch.dtype,
    checkpoints: Path,
) -> Any:
    train, valid = ([_trainer_row(row, sides, settings.objective, tokenizer) for row in rows] for rows in splits)
    trainer_class, config_class = TRAINERS[settings.objective]
    arguments = _arguments(settings, precision, checkpoints, bool(valid))
    return trainer_class(
        model=load_base(base, settings, precision),
        args=config_class(**arguments),
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(valid) if valid else None,
        processing_class=tokenizer,
        peft_config=_lora(settings),
        callbacks=[_Progress(settings.objective)],
    )


def _trainer_row(row: dict[str, Any], sides: tuple[str, ...], objective: str, tokenizer: Any) -> dict[str, Any]:
    """A row as its trainer wants it; for ORPO as text, since its own rendering ends an answer twice."""
    if objective != "orpo":
        return {key: row[key] for key in ("prompt", *sides)}
    opened = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    whole = {side: tokenizer.apply_chat_template(row["prompt"] + row[side], tokenize=False) for side in sides}
    return {"prompt": opened} | {side: text.removeprefix(opened).rstrip() for side, text in whole.items()}


def _arguments(settings: TrainSettings, precision: torch.dtype, checkpoints: Path, measured: bool) -> dict[str, Any]:
    """Trainer arguments; activations of models that fit are kept, since recomputing them costs a third of the time."""
    t = settings.training
    common = {
        "output_dir": str(checkpoints),
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
        "bf16": precision == torch.bfloat16,
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "eval_strategy": "epoch" if measured else "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
    }
    if settings.objective == "sft":
        return {**common, "completion_only_loss": True, "packing": False}
    return {**common, "beta": t.beta}


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


def _lora(settings: TrainSettings) -> LoraConfig:
    lora = settings.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _kept(row: dict[str, Any]) -> bool:
    """Log entries of steps and measurements, not the closing summary with its times."""
    return "loss" in row or "eval_loss" in row


def _write(model: Any, tokenizer: Any, base: Path, output: Path, metrics: list[dict[str, Any]]) -> None:
    with staged_folder(output) as stage:
        model.save_pretrained(str(stage), save_embedding_layers=False)
        (stage / "README.md").unlink(missing_ok=True)
        (stage / WEIGHTS).chmod(0o644)
        config = read_json(stage / "adapter_config.json")
        # PEFT writes a set in hash order and the base as an absolute path.
        config["target_modules"] = sorted(config["target_modules"])
        config["base_model_name_or_path"] = base.as_posix()
        write_json(stage / "adapter_config.json", config)
        save_tokenizer(tokenizer, stage, tokenizer.model_max_length)
        write_text(stage / "metrics.jsonl", "".join(json.dumps(row, sort_keys=True) + "\n" for row in metrics))
        plot_losses(metrics, stage / "loss.svg")
    write_digests(output, list(FILES), output / "digests.json")


class _Ceiling(TrainerCallback):
    """Stops a training after its first steps when all of them would take longer than `max_minutes`."""

    def __init__(self, max_minutes: float) -> None:
        self._max_minutes = max_minutes
        self._first: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The first step warms up and does not count; a tenth of the steps is enough to tell."""
        step = state.global_step
        if self._first is None:
            self._first = time.monotonic()
        elif step <= max(3, state.max_steps // 10):
            minutes = (time.monotonic() - self._first) / (step - 1) * state.max_steps / 60
            if minutes > self._max_minutes:
                raise TrainingError(
                    f"guards.max_training_minutes: {state.max_steps} steps would take about {minutes:.1f} minutes, more "
                    f"than {self._max_minutes:g}. STILLHOUSE_ALLOW=training lets it; `python scripts/why.py` tells why "
                    "it runs"
                )


class _Progress(TrainerCallback):
    """Shows steps and losses as the rest of the pipeline shows its work."""

    def __init__(self, objective: str) -> None:
        self._objective = objective
        self._note = ""
        self._meter: Meter | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The number of steps is known now."""
        self._meter = Meter(f"training ({self._objective})", state.max_steps, lambda: self._note)
        self._meter.__enter__()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Keep the last losses to show."""
        values = {k: v for k, v in (logs or {}).items() if k in ("loss", "eval_loss")}
        if values:
            self._note = ", ".join(f"{key} {float(value):.3f}" for key, value in values.items())
            logger.info("step %d: %s", state.global_step, self._note)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One optimiser step more."""
        if self._meter:
            self._meter.advance()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the bar."""
        if self._meter:
            self._meter.__exit__()
