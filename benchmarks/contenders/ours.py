"""Stillhouse's own part of benchmarks/datasets.py: the rule's library call on the invented rows.

python benchmarks/contenders/ours.py FOLDER OUTPUT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.settings import BuildSettings

THREADS = 2


def main(folder: Path, output: Path) -> None:
    """Build the dataset of the benchmark."""
    filters = [
        {"min_words": 15},
        {"max_words": 300},
        {"without_markers": "markers.yaml"},
        {"max_contractions": 8.0},
        {"repetition": {"n": 4, "max": 0.2}},
        {"length_ratio": {"min": 0.2, "max": 8.0}},
    ]
    dataset = {
        "sources": [{"generation": "invented", "filters": filters}],
        "near_duplicates": {"threshold": 0.85, "permutations": 128},
        "decontaminate": {"against": ["held"], "ngram": 8},
        "split": {"train": 0.9, "valid": 0.1, "seed": 42},
    }
    build_dataset(
        BuildSettings.model_validate({"name": "benchmark", "dataset": dataset}),
        {"invented": folder / "answers.parquet"},
        [folder / "held_out.parquet"],
        output,
        files={"markers.yaml": folder / "markers.yaml"},
        threads=THREADS,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
