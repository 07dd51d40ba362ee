"""A model's parameters worked out from its config.json alone: decoders with gated MLPs (Llama, Mistral, Qwen ...)."""

from dataclasses import dataclass
from typing import Any

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """Widths of a decoder and (in, out) of the linear layers of one block."""

    hidden: int
    inner: int
    layers: int
    heads: int
    keys: int
    head: int
    vocabulary: int
    tied: bool

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each linear layer of a block, by the name of its module."""
        queries, keys = self.heads * self.head, self.keys * self.head
        attention = ((self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden))
        mlp = ((self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden))
        return dict(zip((*ATTENTION, *MLP), (*attention, *mlp), strict=True))

    @property
    def linear_parameters(self) -> int:
        """Weights of the blocks' linear layers: what nf4 quantises."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def other_parameters(self) -> int:
        """Embeddings, output layer and norms."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden * (2 * self.layers + 1)

    def adapted(self, targets: str | list[str]) -> dict[str, tuple[int, int]]:
        """The linear layers of a block that get an adapter; a path to that of one block counts for all blocks."""
        return {name: size for name, size in self.linears.items() if _aimed_at(name, targets)}

    def lora_parameters(self, rank: int, targets: str | list[str]) -> int:
        """Weights of an adapter (Hu et al. 2021): rank x (inputs + outputs) of each layer that has one."""
        return self.layers * sum(rank * (inputs + outputs) for inputs, outputs in self.adapted(targets).values())


def _aimed_at(name: str, targets: str | list[str]) -> bool:
    return targets == "all-linear" or any(target.rpartition(".")[2] == name for target in targets)


def shape_of(config: dict[str, Any]) -> Shape | None:
    """The shape that a config.json tells; None for another kind of model (experts, encoders, missing keys)."""
    text = config.get("text_config") or config
    experts = any(text.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts"))
    if experts or not all(isinstance(text.get(key), int) for key in NEEDED) or config.get("is_encoder_decoder"):
        return None
    heads = text["num_attention_heads"]
    return Shape(
        hidden=text["hidden_size"],
        inner=text["intermediate_size"],
        layers=text["num_hidden_layers"],
        heads=heads,
        keys=text.get("num_key_value_heads") or heads,
        head=text.get("head_dim") or text["hidden_size"] // heads,
        vocabulary=text["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", True))),
    )
