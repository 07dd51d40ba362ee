"""Rule summarise_evaluation: report.json, everything that the report shows."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job

JUDGEMENTS = ("markers", "breaks", "checks", "rubric", "pairwise")


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Put responses and judgements together, with intervals, gates, contamination and what the judges are worth."""
    from stillhouse.evaluation.report_settings import ReportSettings
    from stillhouse.evaluation.summary import summarise

    def only(name: str) -> Path | None:
        return next(iter(inputs.get(name)), None)

    return summarise(
        inputs.get("responses"),
        ReportSettings.model_validate(params.recipe),
        outputs.summary,
        **{kind: only(kind) for kind in JUDGEMENTS},
        markers_file=only("marker_file"),
        rubric_file=only("rubric_file"),
        trained={file.parent.name: file for file in inputs.get("train")},
    )


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
