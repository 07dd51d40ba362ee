"""GGUF files by llama.cpp's own converters, with our metadata."""

import io
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import gguf
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

from stillhouse.errors import ExportError
from stillhouse.exports.base import check_base
from stillhouse.exports.gates import check_gguf
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import atomic_path
from stillhouse.provenance.logs import run_logged


def converter_folder() -> Path:
    """Where the set-up has put llama.cpp's converters; raises `ExportError` when it has not."""
    folder = Path(sys.prefix) / "share" / "llama.cpp"
    if not (folder / "convert_hf_to_gguf.py").is_file():
        raise ExportError(f"llama.cpp's converters are not in {folder}; run `make setup`")
    return folder


def convert_gguf(folder: Path, target: Path, tools: Path, name: str, metadata: dict[str, str]) -> dict[str, Any]:
    """Convert the model in `folder` to an f16 GGUF named `name` with `metadata` (key -> text) added.

    Raises `ExportError` when the converter fails, or when vocabulary, token ids, rendered conversations or end tokens
    differ between folder and GGUF.
    """
    with atomic_path(target) as temporary:
        raw = temporary.with_suffix(".raw.tmp")
        try:
            command = [sys.executable, str(tools / "convert_hf_to_gguf.py"), str(folder)]
            run_logged([*command, "--outtype", "f16", "--model-name", name, "--outfile", str(raw)], ExportError)
            add_metadata(raw, temporary, {"general.name": name, **metadata})
        finally:
            raw.unlink(missing_ok=True)
        facts = check_gguf(folder, temporary)
    return {**facts, "sha256": digest_file(target), "size": target.stat().st_size}


def convert_adapter_gguf(
    adapter: Path, base: Path, target: Path, tools: Path, name: str, metadata: dict[str, str]
) -> dict[str, Any]:
    """Convert a PEFT adapter to a GGUF that llama.cpp puts on the base's GGUF.

    Raises `ExportError` when the adapter was not trained on `base`, or when the converter fails.
    """
    check_base(base, adapter)
    with atomic_path(target) as temporary:
        raw = temporary.with_suffix(".raw.tmp")
        try:
            command = [sys.executable, str(tools / "convert_lora_to_gguf.py"), str(adapter), "--base", str(base)]
            run_logged([*command, "--outtype", "f16", "--outfile", str(raw)], ExportError)
            add_metadata(raw, temporary, {"general.name": name, **metadata})
        finally:
            raw.unlink(missing_ok=True)
    return {"sha256": digest_file(target), "size": target.stat().st_size}


def add_metadata(source: Path, target: Path, metadata: dict[str, str]) -> None:
    """Copy a GGUF with text metadata set; tensors stay as they are."""
    reader = gguf.GGUFReader(source, "r")
    architecture = reader.fields[gguf.Keys.General.ARCHITECTURE].contents()
    writer = gguf.GGUFWriter(target, arch=architecture, endianess=reader.endianess)
    details = {key: MetadataDetails(gguf.GGUFValueType.STRING, value) for key, value in sorted(metadata.items())}
    with redirect_stderr(io.StringIO()):  # it draws a bar there
        copy_with_new_metadata(reader, writer, details, [])


def export_metadata(recipe: dict[str, Any], key: str) -> dict[str, str]:
    """What our GGUF files say of themselves: base, adapter, and the build key of their record.

    Licences stand in the card: a corrected one must not make other weights.
    """
    return {
        "stillhouse.build_key": key,
        "stillhouse.base": recipe["base"],
        "stillhouse.adapter": recipe["adapter"],
    }
