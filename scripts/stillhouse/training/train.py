"""Trains LoRA and QLoRA adapters by TRL: from a dataset's files to an adapter's, with the facts of the training."""

import json
import logging
import platform
import resource
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars
from transformers import set_seed

from stillhouse.llm.weights import quiet_transformers, save_tokenizer, staged_folder, write_adapter_digests
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json, write_json, write_text
from stillhouse.provenance.layout import ADAPTER_FILES
from stillhouse.training.adapted import CONFIG, WEIGHTS
from stillhouse.training.bases import read_base
from stillhouse.training.callbacks import Ceiling
from stillhouse.training.checkpoints import Checkpoints
from stillhouse.training.checks import Examined, examine, model_failures, refuse
from stillhouse.training.plot import plot_losses
from stillhouse.training.precision import Precision, choose_precision
from stillhouse.training.preflight import setting_failures
from stillhouse.training.readme import adapter_readme
from stillhouse.training.resuming import Resuming
from stillhouse.training.rows import read_rows
from stillhouse.training.settings import TrainSettings
from stillhouse.training.targets import target_failures
from stillhouse.training.tokens import load_tokenizer
from stillhouse.training.trainers import make_trainer

logger = logging.getLogger(__name__)

FILES = (WEIGHTS, *ADAPTER_FILES, "metrics.jsonl", "loss.svg")
README = "README.md"
TOLD = ("steps", "best_step", "trainable_parameters", "train_loss", "valid_loss")
"""The results that the README tells."""
METRICS = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm")


def train_adapter(
    base: Path,
    dataset: Path,
    output: Path,
    settings: TrainSettings,
    checkpoints: Path,
    max_minutes: float | None = None,
    *,
    key: str | None = None,
    checkpoint_minutes: float = 10.0,
    init: Path | None = None,
    base_name: str | None = None,
) -> dict[str, Any]:
    """Train an adapter on `dataset`/train.parquet, measure it on valid.parquet, and write `FILES` and digests.json.

    `base` is a folder of full-precision weights, `init` that of an adapter to go on from; `base_name` is what the README
    calls the base (`export N`), None: as its folder. With a build `key` a
    checkpoint is written to `checkpoints`/`key` every `checkpoint_minutes` and on SIGTERM, the same call goes on from it,
    and the folder goes when the adapter is written. A training that would take longer than `max_minutes`, told from its first
    steps, is stopped by `TrainingError`. The same inputs give the same bytes on one machine type, however often the
    training was killed. Facts: rows, tokens, steps, seconds, tokens a second, peak memory, precision and why, last
    losses. Raises `TrainingError` before any step when rows, base and recipe do not fit, and after SIGTERM.
    """
    started = time.monotonic()
    _prepare(settings)
    tokenizer = load_tokenizer(base)
    splits = _examined(base, dataset, settings, tokenizer)
    precision = choose_precision(settings.training.precision)
    logger.info("computing in %s: %s", precision.name, precision.reason)
    with ExitStack() as held:
        held.enter_context(quiet_transformers())
        kept = held.enter_context(Checkpoints(checkpoints, key, precision.computing).held()) if key else None
        tokens = (splits["train"].rows, splits["valid"].rows)
        trainer = make_trainer(settings, base, tokenizer, tokens, precision, checkpoints, init)
        if max_minutes is not None:
            trainer.add_callback(Ceiling(max_minutes))
        begun = time.monotonic()
        _run(trainer, kept, checkpoint_minutes)
        seconds = time.monotonic() - begun
        best = trainer.take_best()
        trainer.check_weights()
        metrics = [{k: row[k] for k in METRICS if k in row} for row in trainer.state.log_history if _kept(row)]
        results = _results(trainer, metrics, best)
        with staged_folder(output) as stage:
            _write(trainer.model, tokenizer, base, stage, metrics)
            told = {key: results[key] for key in TOLD} | {"precision": precision.name}
            files = {file: digest_file(stage / file) for file in FILES if file != README}
            card = adapter_readme(base, init, settings, _data(splits), told, files, base_name)
            write_text(stage / README, card)
        write_adapter_digests(output, list(FILES), base, output / "digests.json")
        if kept:
            kept.remove()
    return {
        **_counts(splits),
        **results,
        "seconds": round(seconds, 1),
        "seconds_with_loading": round(time.monotonic() - started, 1),
        "tokens_per_second": round(float(trainer.tokens_seen) / seconds, 1),
        **_machine(precision),
    }


def _prepare(settings: TrainSettings) -> None:
    disable_progress_bars()
    torch.set_num_threads(settings.training.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a safety net that costs a fifth of the time
    set_seed(settings.training.seed)


def _examined(base: Path, dataset: Path, settings: TrainSettings, tokenizer: Any) -> dict[str, Examined]:
    """Both splits as tokens; raises `TrainingError` with what the preflight would report."""
    files = {split: dataset / f"{split}.parquet" for split in ("train", "valid")}
    failures = [*model_failures(tokenizer, read_json(base / "config.json")), *setting_failures(settings, files)]
    refuse([*failures, *target_failures(base, settings.lora.targets)])
    longest, known = settings.training.max_length, read_base(base)
    rows = {split: read_rows(file, settings.objective) for split, file in files.items()}
    found = {split: examine(rows[split], split, settings.objective, tokenizer, longest, known) for split in files}
    refuse(failure for examined in found.values() for failure in examined.failures)
    return found


def _run(trainer: Resuming, kept: Checkpoints | None, checkpoint_minutes: float) -> None:
    trainer.checkpoints, trainer.checkpoint_seconds = kept, 60 * checkpoint_minutes
    with trainer.heeding_sigterm() if kept else nullcontext():
        trainer.train_from(kept.newest() if kept else None)


def _counts(splits: dict[str, Examined]) -> dict[str, int]:
    data = _data(splits)
    train = data["train"]
    counts = {"rows": train["rows"], "valid_rows": data["valid"]["rows"]}
    return {**counts, "tokens": train["tokens"], "supervised_tokens": train["supervised"]}


def _results(trainer: Resuming, metrics: list[dict[str, Any]], best: int | None) -> dict[str, Any]:
    return {
        "steps": trainer.state.global_step,
        "resumed_from_step": trainer.resumed_from,
        "best_step": best,
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "train_loss": next((row["loss"] for row in reversed(metrics) if "loss" in row), None),
        "valid_loss": next((row["eval_loss"] for row in reversed(metrics) if "eval_loss" in row), None),
    }


def _machine(precision: Precision) -> dict[str, Any]:
    gpu = torch.cuda.is_available()
    return {
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_gpu_mib": torch.cuda.max_memory_allocated() // 2**20 if gpu else None,
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "precision": precision.name,
        "precision_reason": precision.reason,
    }


def _processor() -> str:
    """The model name of the processor, for the record: bytes are reproducible on one machine type."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _kept(row: dict[str, Any]) -> bool:
    """Log entries of steps and measurements, not the closing summary with its times."""
    return "loss" in row or "eval_loss" in row


def _write(model: Any, tokenizer: Any, base: Path, stage: Path, metrics: list[dict[str, Any]]) -> None:
    """Everything of an adapter but its README and its digests."""
    model.save_pretrained(str(stage), save_embedding_layers=False, selected_adapters=["default"])
    (stage / WEIGHTS).chmod(0o644)
    config = read_json(stage / CONFIG)
    # PEFT writes a set in hash order and the base as an absolute path.
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base.as_posix()
    write_json(stage / CONFIG, config)
    save_tokenizer(tokenizer, stage, tokenizer.model_max_length)
    lines = (json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in metrics)
    write_text(stage / "metrics.jsonl", "".join(lines))
    plot_losses(metrics, stage / "loss.svg")


def _data(splits: dict[str, Examined]) -> dict[str, dict[str, Any]]:
    """What was learned from and measured by, by split."""
    return {
        split: {
            "rows": len(found.rows),
            "tokens": sum(len(side.ids) for side in found.answers),
            "supervised": sum(len(side.answer) for side in found.answers),
            "sha256": found.digest,
        }
        for split, found in splits.items()
    }
