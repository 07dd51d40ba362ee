"""What a training job needs of the study."""

from typing import Literal

from stillhouse.study.adapters import Lora, Training
from stillhouse.study.base import Section


class TrainSettings(Section):
    """Objective, base's form, adapter's shape and optimisation of one adapter."""

    objective: Literal["sft", "dpo", "orpo"]
    quantization: Literal["none", "nf4"]
    lora: Lora
    training: Training
