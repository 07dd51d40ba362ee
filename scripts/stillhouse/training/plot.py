"""The loss curve of a training as SVG, the same bytes for the same metrics."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from stillhouse.provenance.files import atomic_path


def plot_losses(metrics: list[dict[str, Any]], target: Path) -> None:
    """Draw training loss, validation loss and learning rate by step."""
    trained = [row for row in metrics if "loss" in row]
    measured = [row for row in metrics if "eval_loss" in row]
    with plt.rc_context({"svg.hashsalt": "stillhouse", "svg.fonttype": "none", "font.size": 10}):
        figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
        axis.plot([r["step"] for r in trained], [r["loss"] for r in trained], color="#1f6f8b", label="training loss")
        axis.plot(
            [r["step"] for r in measured],
            [r["eval_loss"] for r in measured],
            "o-",
            color="#c8553d",
            label="validation loss",
        )
        axis.set(xlabel="optimiser step", ylabel="loss (nats a token)")
        rate = axis.twinx()
        rate.plot([r["step"] for r in trained], [r["learning_rate"] for r in trained], ":", color="#888888")
        rate.set_ylabel("learning rate (dotted)")
        axis.spines["top"].set_visible(False)
        rate.spines["top"].set_visible(False)
        axis.legend(frameon=False)
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
