"""Completion-only SFT by TRL, with the output layer run where there is something to learn."""

from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer

from stillhouse.training.tokens import IGNORED


class CompletionTrainer(SFTTrainer):
    """`SFTTrainer` whose loss needs no logits of the prompt.

    TRL's own loss is made for GPUs: without Triton its chunks over the vocabulary took more than half of a
    step of a small model, and this takes a tenth. The value is the same: the mean over supervised tokens.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Next-token loss in nats, summed over supervised tokens and divided by their number."""
        targets = inputs["labels"][:, 1:]
        places = (targets != IGNORED).any(dim=0).nonzero().squeeze(-1)
        read = {key: value for key, value in inputs.items() if key != "labels"}
        outputs = model(**read, use_cache=False, logits_to_keep=places)
        chosen = targets[:, places]
        used = chosen != IGNORED
        total = torch.nn.functional.cross_entropy(outputs.logits[used].float(), chosen[used], reduction="sum")
        loss = total / (used.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


def lay_end_to_end(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """A batch as one sequence without padding.

    Positions start anew with each row. There is no attention mask: attention finds the rows by their positions, and
    none sees another. So losses and steps are those of the padded batch.
    """
    ids, labels, positions = [], [], []
    for row in rows:
        ids += row["input_ids"]
        labels += [IGNORED, *row["labels"][1:]]  # nothing learns to foresee the next row
        positions += range(len(row["input_ids"]))
    found = {"input_ids": ids, "labels": labels, "position_ids": positions}
    return {name: torch.tensor([values]) for name, values in found.items()}
