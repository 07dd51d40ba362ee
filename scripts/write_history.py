"""Rule write_history: all evaluations of a study side by side."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write history.json and history.md out of all reports, in the study's order."""
    from stillhouse.evaluation.history import write_history

    return write_history(
        inputs.get("summaries"),
        outputs.history,
        outputs.markdown,
        study=params.recipe["study"],
        evaluations=params.recipe["evaluations"],
    )


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
