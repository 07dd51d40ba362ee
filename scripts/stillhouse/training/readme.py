"""The README.md of an adapter: what the hub shows of it, its recipe, what it learned from, and digests of all of that.

It holds no times and no names of machines: the same training gives the same bytes.
"""

import json
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_file
from stillhouse.training.settings import TrainSettings

WAYS = {
    "sft": "supervised fine-tuning on answers",
    "dpo": "DPO (Rafailov et al. 2023)",
    "orpo": "ORPO (Hong et al. 2024)",
}


EXPORT = "export "
"""What the name of a base begins with that is the merged model of an export; no model's name has a space."""


def adapter_readme(
    base: Path,
    init: Path | None,
    settings: TrainSettings,
    splits: dict[str, dict[str, Any]],
    results: dict[str, Any],
    files: dict[str, str],
    base_name: str | None = None,
) -> str:
    """README.md for an adapter on the model in folder `base`, gone on from the adapter in folder `init`.

    `base_name` is what the base is called, None: as its folder. `export N` is the merged model of an earlier export.

    `splits` has `rows`, `tokens`, `supervised` and `sha256` of what was read, by split; `results` what the training
    came to, `files` the sha256 of every file of the adapter, by name.
    """
    name = base_name or base.name
    kind = "QLoRA" if settings.quantization == "nf4" else "LoRA"
    quantised = ", on the base in 4-bit nf4" if kind == "QLoRA" else ""
    asked = {
        "lora": settings.lora.model_dump(),
        "training": settings.training.model_dump(exclude={"checkpoint_minutes"}),
    }
    chosen = {f"{part}.{key}": value for part, keys in asked.items() for key, value in keys.items()}
    start = (
        f"It goes on from another adapter, with the weights {digest_file(init / 'adapter_model.safetensors')}."
        if init
        else ""
    )
    rows = [
        [f"`{split}`", *(f"{one[key]}" for key in ("rows", "tokens", "supervised", "sha256"))]
        for split, one in splits.items()
    ]
    return "\n".join(
        [
            *_front(name.removeprefix(EXPORT), settings),
            f"# {kind} adapter for {name}",
            "",
            f"Trained by {WAYS[settings.objective]} with TRL and PEFT{quantised}.",
            *([_merged(base, name)] if name.startswith(EXPORT) else []),
            *([start] if start else []),
            "Its licence and the terms of what it was made of stand in the card of its export: a base's licence and that "
            "of the answers it learned from bind the adapter too.",
            "",
            *_table("Data", ["split", "rows", "tokens", "learned from", "sha256 of the rows' texts"], rows),
            *_table(
                "Recipe", ["setting", "value"], [[f"`{key}`", _plain(value)] for key, value in sorted(chosen.items())]
            ),
            *_table("What it came to", ["fact", "value"], [[key, _plain(value)] for key, value in results.items()]),
            *_table("Files", ["file", "sha256"], [[f"`{file}`", digest] for file, digest in files.items()]),
            "The digests of the base are in `digests.json`, with those of these files.",
            "",
        ]
    )


def _merged(base: Path, name: str) -> str:
    """Which base it is: the hub does not know what a study has trained, so the weights are named by their digest."""
    digest = digest_file(base / "model.safetensors")
    return f"Its base is the merged model of {name}, `{base.as_posix()}` in its study, with the weights {digest}."


def _front(base: str, settings: TrainSettings) -> list[str]:
    """The metadata that the hub reads (https://huggingface.co/docs/hub/model-cards); names are JSON, which is YAML."""
    tags = ["lora", *(["qlora"] if settings.quantization == "nf4" else []), settings.objective, "trl", "stillhouse"]
    front = {
        "base_model": base,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": tags,
    }
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]


def _table(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""]


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
