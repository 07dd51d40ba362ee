"""What the small files of a base tell about it, without its weights: which tokens end a turn, and how far it can count."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.provenance.files import read_json


@dataclass(frozen=True)
class Base:
    """`ends`: ids of the tokens that end generation, besides the tokenizer's own; `positions`: the most tokens of a row."""

    ends: frozenset[int] = frozenset()
    positions: int | None = None


def read_base(folder: Path) -> Base:
    """What config.json and, where there is one, generation_config.json of a model folder tell."""
    config, generation = read_json(folder / "config.json"), folder / "generation_config.json"
    told = [config, read_json(generation)] if generation.is_file() else [config]
    return Base(frozenset(end for found in told for end in _ids(found.get("eos_token_id"))), _positions(config))


def _ids(value: Any) -> list[int]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]


def _positions(config: dict[str, Any]) -> int | None:
    """`max_position_embeddings`, or more where stretched positions (YaRN, Peng et al. 2023) reach beyond it."""
    text = config.get("text_config") or config
    limit = text.get("max_position_embeddings") or text.get("n_positions")
    if not isinstance(limit, int):
        return None
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
    return max(limit, int(original * factor)) if original and factor else limit
