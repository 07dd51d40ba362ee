"""Completion-only SFT by TRL, with the output layer run where there is something to learn."""

from typing import Any

import torch
from trl import SFTTrainer

IGNORED = -100
"""The label of a token that carries no loss."""


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
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            logits_to_keep=places,
        )
        chosen = targets[:, places]
        used = chosen != IGNORED
        total = torch.nn.functional.cross_entropy(outputs.logits[used].float(), chosen[used], reduction="sum")
        loss = total / (used.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss
