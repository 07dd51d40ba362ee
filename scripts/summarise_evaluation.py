"""Rule summarise_evaluation: report.json, everything that the report shows."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Put responses and judgements together, with intervals, gates and what the judges are worth."""
    from stillhouse.evaluation.settings import ReportSettings
    from stillhouse.evaluation.summary import summarise

    def only(name: str) -> Path | None:
        return next(iter(inputs.get(name)), None)

    return summarise(
        inputs.get("responses"),
        ReportSettings.model_validate(params.recipe),
        outputs.summary,
        markers=only("markers"),
        rubric=only("rubric"),
        pairwise=only("pairwise"),
        markers_file=only("marker_file"),
        rubric_file=only("rubric_file"),
    )


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
