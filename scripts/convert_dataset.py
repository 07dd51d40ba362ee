"""Rule convert_dataset: a dataset's splits in the form of another training tool."""

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import texts_of


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write the three splits as JSON lines."""
    from stillhouse.datasets.conversions import convert_dataset

    splits = {name: getattr(inputs, name) for name in ("train", "valid", "test")}
    targets = {name: getattr(outputs, name) for name in splits}
    return convert_dataset(splits, params.recipe["form"], targets)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=texts_of("train", "valid", "test"))
