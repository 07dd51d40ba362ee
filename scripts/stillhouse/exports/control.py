"""The base alone as a quantised GGUF: what an export looks like whose adapter was lost."""

from collections.abc import Callable
from pathlib import Path

from stillhouse.exports.convert import convert_gguf, converter_folder
from stillhouse.exports.quantize import FILE_TYPES, quantize_gguf

CHEAP = 2**31
"""Bytes of weights up to which a control is made: it costs a conversion and as much disc again."""


def base_control(base: Path, quants: list[str]) -> Callable[[Path], Path] | None:
    """A function that makes the control in an empty folder; None for a base that is too large for it.

    Quantised as the coarsest of `quants`, where rounding moves the base most.
    """
    if (base / "model.safetensors").stat().st_size > CHEAP:
        return None
    coarsest = next((quant for quant in reversed(FILE_TYPES) if quant in quants), None)

    def make(folder: Path) -> Path:
        plain = folder / "base-f16.gguf"
        convert_gguf(base, plain, converter_folder(), "base", {})
        if coarsest is None:
            return plain
        quantised = folder / f"base-{coarsest}.gguf"
        quantize_gguf(plain, quantised, coarsest)
        return quantised

    return make
