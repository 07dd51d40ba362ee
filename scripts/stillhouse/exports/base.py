"""Holds an adapter to the base that it was trained on: same weights in full precision, same tokenizer."""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillhouse.errors import ExportError
from stillhouse.llm.weights import base_digests
from stillhouse.provenance.files import read_json

FULL_PRECISION = {"F64", "F32", "F16", "BF16"}
MAX_HEADER = 100_000_000


def check_base(base: Path, adapter: Path) -> None:
    """Raise `ExportError` unless `base` is the full-precision model, to the byte, that `adapter` was trained on.

    Compared with the digests that training left in the adapter's digests.json under `base`. The adapter's own
    tokenizer and chat template must be the base's as well.
    """
    found = base_digests(base)
    check_full_precision(base)
    trained = read_json(adapter / "digests.json").get("base")
    if not trained:
        raise ExportError(
            f"{adapter}/digests.json does not say which weights the adapter was trained on; train it again"
        )
    other = [name for name in sorted(trained) if found.get(name) != trained[name]]
    if other:
        name = other[0]
        raise ExportError(
            f"{adapter} was trained on another {name} than the one in {base} (sha256 {trained[name][:12]}, found "
            f"{str(found.get(name))[:12]}); train it again or merge it into its own base"
        )
    check_same_tokenizer(base, adapter)


def check_full_precision(folder: Path) -> None:
    """Raise `ExportError` for a model folder with quantised weights: rounding would be baked in before the merge."""
    config = read_json(folder / "config.json")
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown")
        raise ExportError(f"{folder} holds quantised weights ({method}); merge into the full-precision base instead")
    for name, dtype in _dtypes(folder.glob("*.safetensors")):
        if dtype not in FULL_PRECISION:
            raise ExportError(f"{folder} holds {name} as {dtype}; merge into the full-precision base instead")


def check_same_tokenizer(base: Path, adapter: Path) -> None:
    """Raise `ExportError`, naming the first difference, unless both folders read and lay out text alike."""
    ours, theirs = (_tokens(folder) for folder in (base, adapter))
    for token in sorted(theirs.keys() | ours.keys(), key=lambda one: (theirs.get(one, -1), one)):
        if token not in ours:
            raise ExportError(
                f"the tokenizer of {adapter} has the token {token!r} ({theirs[token]}), which {base} lacks"
            )
        if ours[token] != theirs.get(token):
            raise ExportError(f"token {token!r} is {ours[token]} in {base} and {theirs.get(token)} in {adapter}")
    for name in ("tokenizer.json", "chat_template.jinja"):
        if (base / name).read_bytes() != (adapter / name).read_bytes():
            raise ExportError(f"{name} of {adapter} is not that of {base}")


def _tokens(folder: Path) -> dict[str, int]:
    """Every token of a folder's tokenizer with its id, added ones too."""
    document: dict[str, Any] = read_json(folder / "tokenizer.json")
    vocabulary = document["model"]["vocab"]
    if isinstance(vocabulary, list):  # unigram models list their pieces with scores
        vocabulary = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return {**vocabulary, **{one["content"]: one["id"] for one in document["added_tokens"]}}


def _dtypes(files: Iterable[Path]) -> list[tuple[str, str]]:
    """Names and types of all tensors, out of the headers alone."""
    found = []
    for file in sorted(files):
        with open(file, "rb") as stream:
            head = stream.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else MAX_HEADER + 1
            if length > MAX_HEADER:
                raise ExportError(f"{file} is no safetensors file")
            header = json.loads(stream.read(length))
        found += [(name, entry["dtype"]) for name, entry in sorted(header.items()) if name != "__metadata__"]
    return found
