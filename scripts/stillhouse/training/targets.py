"""Whether `lora.targets` names layers that an adapter can be put on, told from the base's config without its weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.training.checks import Failure

if TYPE_CHECKING:
    from torch.nn import Module


def target_failures(base: Path, targets: str | list[str]) -> list[Failure]:
    """What is wrong with each of `targets` on the model in folder `base`; only its config.json is read.

    A target names every module whose path is it or ends in it, as PEFT takes it. Embeddings and output layer are
    refused: on a tied base they are one matrix, which a merge would change in both places, and what adapters are
    served and converted by takes them on the blocks only.
    """
    if targets == "all-linear":
        return []
    model = _without_weights(base)
    ends = {id(found) for found in (model.get_input_embeddings(), model.get_output_embeddings()) if found is not None}
    modules = [(name, module) for name, module in model.named_modules() if name]
    linear = sorted({name.rpartition(".")[2] for name, found in modules if _linear(found) and id(found) not in ends})
    failures = []
    for target in targets:
        named = [module for name, module in modules if name == target or name.endswith(f".{target}")]
        if any(id(module) in ends for module in named):
            tied = ", which is one matrix with the other in this base" if model.config.tie_word_embeddings else ""
            words = f"lora.targets: {target} is the embedding or the output layer{tied}; adapters go on the blocks"
        elif not named or not all(_linear(module) for module in named):
            words = f"lora.targets: {target} names no linear layer of this base; it has {', '.join(linear)}"
        else:
            continue
        failures.append(Failure("unknown_target" if not named else "unfit_target", words))
    return failures


def _without_weights(base: Path) -> "Module":
    """The model of a folder as its modules, with no memory behind its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def _linear(module: "Module") -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)
