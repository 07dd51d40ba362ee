"""Rule build_dataset: answers filtered, mixed and split into training rows."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Build the dataset with its report of where every row went."""
    from stillhouse.datasets.build import build_dataset
    from stillhouse.datasets.settings import BuildSettings

    settings = BuildSettings.model_validate(params.recipe)
    kinds = ("answers", "failures", "others", "quality")
    answers, failures, others, quality = (_by_folder(inputs.get(kind)) for kind in kinds)
    tokenizer = inputs.get("tokenizer")
    return build_dataset(
        settings,
        answers,
        inputs.get("held_out"),
        outputs.train.parent,
        failures=failures,
        others=others,
        quality=quality,
        tokenizer=tokenizer[0].parent if tokenizer else None,
        threads=params.threads,
    )


def _by_folder(files: list[Path]) -> dict[str, Path]:
    """Files by the generation whose folder they are in."""
    return {file.parent.name: file for file in files}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
