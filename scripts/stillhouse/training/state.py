"""The state of random numbers, optimiser and schedule as tensors and plain values, and back, to the bit."""

import random
from typing import Any

import numpy as np
import torch

from stillhouse.training.checkpoints import Tensors

TENSOR = "tensor"


def random_state() -> tuple[Tensors, dict[str, Any]]:
    """The state of every generator that a training draws from."""
    kind, words, place, has_gauss, gauss = np.random.get_state()
    version, numbers, python_gauss = random.getstate()
    tensors = {"torch": torch.random.get_rng_state(), "numpy": torch.from_numpy(np.array(words, dtype=np.int64))}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.random.get_rng_state()
    plain = {
        "numpy": [str(kind), int(place), int(has_gauss), float(gauss)],
        "python": [version, list(numbers), python_gauss],
    }
    return tensors, plain


def restore_random_state(tensors: Tensors, plain: dict[str, Any]) -> None:
    """Set every generator to what `random_state` told."""
    kind, place, has_gauss, gauss = plain["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), place, has_gauss, gauss))
    version, numbers, python_gauss = plain["python"]
    random.setstate((version, tuple(numbers), python_gauss))
    torch.random.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.random.set_rng_state(tensors["cuda"])


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Moments, steps and quantisation maps of every parameter, and the settings of every group."""
    tensors: Tensors = {}
    plain: dict[str, Any] = {"groups": [], "state": {}}
    number = 0
    for group in optimizer.param_groups:
        plain["groups"].append({key: value for key, value in group.items() if key != "params"})
        for parameter in group["params"]:
            values = plain["state"][str(number)] = {}
            for key, value in optimizer.state.get(parameter, {}).items():
                values[key] = TENSOR if isinstance(value, torch.Tensor) else value
                if isinstance(value, torch.Tensor):
                    tensors[f"{number}.{key}"] = value.detach().clone()  # maps are shared, which safetensors refuses
            number += 1
    return tensors, plain


def restore_optimizer_state(optimizer: torch.optim.Optimizer, tensors: Tensors, plain: dict[str, Any]) -> None:
    """Put back what `optimizer_state` told; unlike `load_state_dict` it changes no dtype."""
    number = 0
    for group, kept in zip(optimizer.param_groups, plain["groups"], strict=True):
        group.update({key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()})
        for parameter in group["params"]:
            for key, value in plain["state"][str(number)].items():
                where = parameter.device if key != "step" else "cpu"
                put = tensors[f"{number}.{key}"].to(where) if value == TENSOR else value
                optimizer.state[parameter][key] = put
            number += 1
