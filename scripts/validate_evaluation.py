"""Rule validate_evaluation: holds an evaluation to the study's limit of unscored verdicts; fails above it."""

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import UNCOUNTED


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write that the report is valid; raise where it is not."""
    from stillhouse.evaluation.validity import refuse_invalid
    from stillhouse.provenance.files import read_json, write_json

    write_json(outputs.valid, refuse_invalid(read_json(inputs.summary)))
    return {"valid": True}


def without_page(inputs: Files, recipe: Facts) -> dict[str, str]:
    """The page must be there before the run fails; what it looks like decides nothing."""
    return {"html": UNCOUNTED}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=without_page)
