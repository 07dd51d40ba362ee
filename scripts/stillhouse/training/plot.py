"""The curves of a training as SVG, the same bytes for the same metrics."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from stillhouse.provenance.files import atomic_path


def plot_losses(metrics: list[dict[str, Any]], target: Path) -> None:
    """Draw training and validation loss, and beside them the learning rate, by optimiser step."""
    trained = [row for row in metrics if "loss" in row]
    measured = [row for row in metrics if "eval_loss" in row]
    steps = [row["step"] for row in trained]
    with plt.rc_context({"svg.hashsalt": "stillhouse", "svg.fonttype": "none", "font.size": 10}):
        figure, (losses, rates) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(2, 1), layout="constrained")
        losses.plot(steps, [row["loss"] for row in trained], color="#1f6f8b", label="training loss")
        losses.plot(
            [row["step"] for row in measured],
            [row["eval_loss"] for row in measured],
            "o-",
            color="#c8553d",
            label="validation loss",
        )
        losses.set(xlabel="optimiser step", ylabel="loss (nats a token)")
        losses.legend(frameon=False)
        rates.plot(steps, [row["learning_rate"] for row in trained], color="#888888")
        rates.set(xlabel="optimiser step", ylabel="learning rate")
        for axis in (losses, rates):
            axis.spines[["top", "right"]].set_visible(False)
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
