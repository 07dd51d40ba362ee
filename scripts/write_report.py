"""Rule write_report: the report of an evaluation as HTML and markdown."""

from stillhouse.provenance.job import Facts, Files, Params, run_job

KINDS = ("markers", "breaks", "checks", "rubric", "pairwise")


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Render report.json and the rows behind it; nothing is measured here."""
    from stillhouse.reports.write import write_report

    judgements = {kind: file for kind in KINDS for file in inputs.get(kind)}
    write_report(
        inputs.summary, outputs.html, outputs.markdown, responses=inputs.get("responses"), judgements=judgements
    )
    return {}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
