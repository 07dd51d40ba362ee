"""The `adapters` and `exports` sections: what is trained, and how it is shipped."""

from typing import Annotated, Literal

from pydantic import Field

from stillhouse.study.base import Licence, Name, Section, Share

Quant = Literal["f16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"]


class Lora(Section):
    """Low-rank adaptation (Hu et al. 2021)."""

    rank: int = Field(16, ge=1, description="rank of the update")
    alpha: int = Field(32, ge=1, description="scale: alpha / rank")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout on the adapter's input")
    targets: Literal["all-linear"] | Annotated[list[Name], Field(min_length=1)] = Field(
        "all-linear", description="`all-linear`, or a list of names of modules: linear layers of the base's blocks"
    )


class EarlyStopping(Section):
    """Ends a training whose validation loss falls no more."""

    patience: int = Field(2, ge=1, description="measurements in a row without improvement")
    min_delta: float = Field(0.0, ge=0.0, description="nats that count as an improvement")


class Training(Section):
    """The optimisation."""

    epochs: float = Field(3, gt=0, description="passes over the training split")
    max_steps: int | None = Field(None, ge=1, description="stop after so many optimiser steps")
    batch_size: int = Field(8, ge=1, description="rows a forward pass")
    accumulate: int = Field(1, ge=1, description="forward passes an optimiser step")
    learning_rate: float = Field(1.0e-3, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant_with_warmup", "constant"] = Field("cosine", description="decay")
    warmup: Share = Field(0.1, description="share of the steps spent warming up")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW weight decay")
    max_length: int = Field(512, ge=8, description="longest row in tokens; longer rows are an error, not cut")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="auto: bf16 where the hardware computes in it, else fp16 on a GPU, else fp32"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice: less memory, a third slower")
    packing: bool = Field(False, description="several rows in one sequence (sft)")
    group_by_length: bool = Field(
        False,
        description="batches of rows of like length, in a seeded order: less padding, but a word of a long row then counts "
        "less than one of a short row",
    )
    evaluate: Literal["epoch"] | Annotated[int, Field(ge=1)] = Field(
        "epoch", description="measure the validation loss after each epoch, or every so many steps"
    )
    early_stopping: EarlyStopping | None = Field(None, description="stop by validation loss; null: train to the end")
    best: bool | None = Field(
        None,
        description="keep the weights of the lowest validation loss, or (false) the last ones; "
        "null: the former with early_stopping, else the latter",
    )
    optimizer: Literal["adamw_torch", "adamw_8bit"] = Field("adamw_torch", description="adamw_8bit is bitsandbytes'")
    beta: float = Field(0.1, gt=0, description="strength of the preference term (dpo, orpo)")
    checkpoint_minutes: int = Field(
        10, ge=1, description="a killed training goes on from the last of its checkpoints; decides no result"
    )
    threads: int = Field(2, ge=1, description="processor threads; part of the recipe, since sums depend on it")
    seed: int = Field(42, ge=0, le=2**32 - 1, description="seed of initialisation and sample order")


class MergedExport(Section):
    """An export whose merged model, in full precision, is the base of another adapter: training in stages."""

    export: Name = Field(description="name of an export; its weights are merged whatever files it asks for")


class Adapter(Section):
    """A LoRA adapter and the recipe that trains it."""

    base: Name | MergedExport = Field(
        description="a llama_cpp model, trained in its full-precision form, or `{export: NAME}`: the merged model of an export"
    )
    dataset: Name = Field(description="name of a dataset")
    objective: Literal["sft", "dpo", "orpo"] = Field("sft", description="completion-only SFT, DPO or ORPO, by TRL")
    quantization: Literal["none", "nf4"] = Field("none", description="nf4: QLoRA, 4-bit base by bitsandbytes")
    lora: Lora = Field(Lora(), description="the adapter's shape")
    init: Name | None = Field(None, description="adapter whose weights the training goes on from; null: a new one")
    accept_collapse: bool = Field(
        False, description="train SFT on top of a preference-trained adapter all the same, which mostly ruins it"
    )
    training: Training = Field(Training(), description="the optimisation")


class Fidelity(Section):
    """How near the GGUF files of an export are to its adapter on the full-precision base."""

    prompts: int = Field(16, ge=1, description="rows at most: of the dataset's test and valid splits, else of train")
    tokens: int = Field(128, ge=16, description="tokens of each answer at most; its prompt is read whole")
    min_top1: Share = Field(
        0.9, description="warn where the likeliest token is another one more often than this allows"
    )
    min_kept: Share = Field(0.8, description="warn where less of the adapter's own effect survives")


class Export(Section):
    """What an adapter is shipped as."""

    adapter: Name = Field(description="name of an adapter")
    quants: list[Quant] = Field(["Q4_K_M"], description="GGUF files to make; f16 is made as their source in any case")
    adapter_gguf: bool = Field(False, description="also the adapter alone as GGUF, to run on the base's GGUF")
    importance: bool = Field(
        False,
        description="quantise below 8 bits by an importance matrix of the training rows; look at the fidelity then",
    )
    fidelity: Fidelity | None = Field(None, description="measure what rounding did to the adapter; null: do not")
    evaluations: list[Name] = Field([], description="evaluations whose scores the model card shows")
    licence: Licence | None = Field(None, description="licence that it is shipped under; null: that of the base")
    accept_terms: list[str] = Field(
        [], description="what stands against it and is accepted, as the error names it: models.teacher:unknown"
    )
